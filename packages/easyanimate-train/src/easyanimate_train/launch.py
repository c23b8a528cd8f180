"""`--launch OPTIONS`: the same training in several processes, started by accelerate's launcher."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.errors import EasyAnimateError, RequestError
from easyanimate_core.machine import read_machine
from easyanimate_core.options import CONTEXT_SETTINGS, THREADS_OPTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIGS = Path(__file__).parent / "launch_configs"
"""Configuration files for accelerate: `ddp.yaml`, `fsdp2.yaml`, `zero2.yaml`, `zero3.yaml`."""

EXTRA_OPTIONS: dict[str, tuple[Any, Any]] = {
    "threads": THREADS_OPTION,
    "resume": (
        Annotated[
            bool, typer.Option("--resume", help="Resume the run in the output folder from its newest checkpoint.")
        ],
        False,
    ),
    "plan": (
        Annotated[
            bool,
            typer.Option("--plan", hidden=True, help="Print what the training will take, as `ea train plan` does."),
        ],
        False,
    ),
    "launch_words": (
        Annotated[
            str | None,
            typer.Option(
                "--launch",
                metavar="OPTIONS",
                help="Train in several processes: ddp, fsdp2, zero2 or zero3, and options of `accelerate launch`.",
            ),
        ],
        None,
    ),
}
"""Options of all trainers beside their settings: annotation and default by name."""

LACKING: dict[str, dict[str, Any]] = {"plan": {"out": "plan"}}
"""What need not be given: a plan writes nothing."""


STOPPED = 130
"""Exit code of what Ctrl-C stopped."""

_MARK = "EASYANIMATE_LAUNCHED"
"""Environment variable of processes that `launch` starts."""

_STOP_SECONDS = 60.0
"""Time that processes have to stop."""


def launch(module: str, trainer: str, words: str) -> None:
    """Run the current command again under `accelerate launch`, and exit with its exit code.

    Args:
        module: Module that calls `run_trainer`, run as `python -m`.
        trainer: Which of its trainers to run.
        words: The value of `--launch`.
    """
    command = [sys.executable, "-m", "easyanimate_train.launcher", *find_options(words), "-m", module]
    environment = {**os.environ, **_say_cpu(words), _MARK: "1"}
    launched = subprocess.Popen(  # noqa: S603 (own command)
        [*command, trainer, *_own_words(sys.argv)], env=environment
    )
    try:
        code = launched.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches the launcher as well, which stops its processes.
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            launched.wait(_STOP_SECONDS)
        launched.kill()
        raise
    if code == STOPPED:
        raise KeyboardInterrupt
    raise typer.Exit(code)


def was_launched() -> bool:
    """Whether this is a process that a launcher started."""
    return _MARK in os.environ or "LOCAL_RANK" in os.environ


def _say_cpu(words: str) -> dict[str, str]:
    """Environment variables that accelerate and DeepSpeed need where there is no GPU, to connect the processes."""
    if any(device.name.startswith("cuda") for device in read_machine().devices):
        return {}
    return {"DS_ACCELERATOR": "cpu"} if words.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}


def run_trainer(trainers: Mapping[str, Callable[..., None]]) -> None:
    """Run a trainer in a launched process: the first argument names it, its options follow."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(lambda: None)  # so that the trainer is named even where there is only one
    for name, trainer in trainers.items():
        app.command(name, context_settings=CONTEXT_SETTINGS)(trainer)
    try:
        app(standalone_mode=False)
    except EasyAnimateError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(STOPPED)


def find_options(words: str) -> list[str]:
    """Options for `accelerate launch`: a first word such as "ddp" becomes the configuration file of that name.

    Raises:
        RequestError: There is no configuration of that name.
    """
    options = shlex.split(words)
    if options and not options[0].startswith("-"):
        known = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
        if options[0] not in known:
            raise RequestError(
                "--launch does not know this configuration.",
                received=options[0],
                expected=", ".join([*known, "options of accelerate"]),
            )
        options[:1] = ["--config_file", str(known[options[0]])]
    return options


def _own_words(arguments: list[str]) -> list[str]:
    """The arguments after `ea train NAME`, without `--launch OPTIONS`."""
    own: list[str] = []
    rest = iter(arguments[arguments.index("train") + 2 :])
    for word in rest:
        if word == "--launch":
            next(rest, None)
        elif not word.startswith("--launch="):
            own.append(word)
    return own
