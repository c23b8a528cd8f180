"""`--launch WORDS`: the same training in several processes, started by accelerate's own launcher."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.errors import EasyAnimateError, RequestError
from easyanimate_core.machine import read_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIGS = Path(__file__).parent / "launch_configs"
"""Files for accelerate: `ddp.yaml`, `fsdp2.yaml`, `zero2.yaml`, `zero3.yaml`."""

EXTRA_OPTIONS: dict[str, tuple[Any, Any]] = {
    "resume": (Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")], False),
    "plan": (Annotated[bool, typer.Option("--plan", hidden=True, help="What `ea train plan` gives.")], False),
    "launch_words": (
        Annotated[
            str | None,
            typer.Option(
                "--launch",
                metavar="WORDS",
                help="Several processes: options of `accelerate launch`, after ddp, fsdp2, zero2 or zero3.",
            ),
        ],
        None,
    ),
}
"""What every trainer takes beside its settings: annotation and default by name."""


def launch(module: str, trainer: str, words: str) -> None:
    """Run the command that is running once more, under `accelerate launch`; its exit code becomes this one's.

    Args:
        module: Run as `python -m`.
        trainer: Its first argument, where it has several.
        words: What `--launch` was given.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", *find_options(words), "-m", module]
    environment = {**os.environ, **_say_cpu(words)}
    done = subprocess.run(  # noqa: S603 (own command)
        [*command, trainer, *_own_words(sys.argv)], check=False, env=environment
    )
    raise typer.Exit(done.returncode)


def _say_cpu(words: str) -> dict[str, str]:
    """What accelerate and DeepSpeed have to be told where there is no GPU, so that processes find one another."""
    if any(device.name.startswith("cuda") for device in read_machine().devices):
        return {}
    return {"DS_ACCELERATOR": "cpu"} if words.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}


def run_trainer(trainers: Mapping[str, Callable[..., None]]) -> None:
    """What `python -m` does in each process: the first word names the trainer, its options follow."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(lambda: None)  # so that a single trainer is named, too
    for name, trainer in trainers.items():
        app.command(name)(trainer)
    try:
        app()
    except EasyAnimateError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)


def find_options(words: str) -> list[str]:
    """Options of accelerate; a first word that names one of `CONFIGS` stands for that file.

    Raises:
        RequestError: There is no such file.
    """
    options = shlex.split(words)
    if options and not options[0].startswith("-"):
        known = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
        if options[0] not in known:
            raise RequestError(
                "There is no such way to launch.",
                received=options[0],
                expected=", ".join([*known, "options of accelerate"]),
            )
        options[:1] = ["--config_file", str(known[options[0]])]
    return options


def _own_words(arguments: list[str]) -> list[str]:
    """What follows `ea train NAME`, without `--launch WORDS`."""
    own: list[str] = []
    rest = iter(arguments[arguments.index("train") + 2 :])
    for word in rest:
        if word == "--launch":
            next(rest, None)
        elif not word.startswith("--launch="):
            own.append(word)
    return own
