"""`ea run`: from the command line to files, with everything checked before the model is loaded."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import EasyAnimateError, PluginError, RequestError
from easyanimate_core.memory import describe_peak
from easyanimate_core.model import open_model
from easyanimate_core.options import option, with_options
from easyanimate_core.registry import load_plugins

from easyanimate_cli.options import list_options, make_clip, read_batch, read_options
from easyanimate_cli.output import check_outputs, choose_output, free_path
from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from inspect import Parameter

    from easyanimate_core.clip import ClipPlan
    from easyanimate_core.model import Model
    from easyanimate_core.spec import PartFile

    from easyanimate_cli.options import ClipOptions

DTYPES = Literal["bfloat16", "float16", "float32"]

_FIRST: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[str, typer.Option("--model", "-m", metavar="KEY", help="Key of the model; `ea models` lists them.")],
        ...,
    ),
    "weights": (
        Annotated[
            str,
            typer.Option(
                metavar="TEXT",
                help="Weights of the model: auto, a name from `ea weights`, a folder, or a Hugging Face repository.",
            ),
        ],
        "auto",
    ),
}
_LAST: dict[str, tuple[Any, Any]] = {
    "lora": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="PATH[:WEIGHT]",
                help="LoRA file to apply, with its weight (1 unless given). Can be given several times.",
            ),
        ],
        None,
    ),
    "dtype": (
        Annotated[DTYPES | None, typer.Option(help="Number format of the model (what suits the device unless given).")],
        None,
    ),
    "device": (
        Annotated[
            str | None,
            typer.Option(
                metavar="TEXT", help="Device to run on: cuda, cuda:1, mps or cpu (the best there is unless given)."
            ),
        ],
        None,
    ),
    "batch": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="PATH",
                help='File with a JSON object per line: a clip, with these options by name, such as {"prompt": "...", '
                '"seed": 7}.',
            ),
        ],
        None,
    ),
}


def make_command(parts: Iterable[PartFile]) -> Callable[..., None]:
    """The command, with an option for every setting of a clip and every part file that an installed model takes."""
    clip_options = list_options()
    part_files = {part.name: part for part in parts}
    taken = part_files.keys() & {*_FIRST, *_LAST, *(setting.name for setting in clip_options.values())}
    if taken:
        raise PluginError(
            "A plugin calls a part file as an option of `ea run` is called.",
            received=", ".join(taken),
            fix="see `ea plugins`, and remove the plugin",
        )

    def run(**options: Any) -> None:
        """Make a video or an image.

        What is not given comes from the weights or from the model. The path of every file goes to standard output, all
        else to standard error.
        """
        given = read_options({name: options[setting.name] for name, setting in clip_options.items()})
        batch: Path | None = options["batch"]
        if batch is None and "prompt" not in given:
            raise RequestError(
                "There is no prompt.", expected="--prompt TEXT or --batch FILE", fix='add --prompt "what to show"'
            )
        asked = [make_clip(given)] if batch is None else read_batch(batch, given)
        with PhaseDisplay() as display:
            model = open_model(
                options["model"],
                weights=options["weights"],
                device=options["device"],
                dtype=options["dtype"],
                loras=options["lora"] or (),
                **{name: options[name] for name in part_files},
            )
            make_clips(model, plan_clips(model, asked), display)

    about_part = {
        name: (Annotated[Path | None, typer.Option(metavar="PATH", help=part.summary)], None)
        for name, part in part_files.items()
    }
    parameters: list[Parameter] = [
        *(option(name, *about) for name, about in _FIRST.items()),
        *(setting.parameter() for setting in clip_options.values()),
        *(option(name, *about) for name, about in {**_LAST, **about_part}.items()),
    ]
    return with_options(run, parameters)


def plan_clips(model: Model, asked: Iterable[ClipOptions]) -> dict[Path, ClipPlan]:
    """The clips that are to be made, by the file to write."""
    plans: dict[Path, ClipPlan] = {}
    for options in asked:
        try:
            plan = model.plan(**options.settings)
            for number in range(options.num_videos):
                request = replace(plan.request, seed=plan.request.seed + number)
                several = number + 1 if options.num_videos > 1 else None
                path = free_path(choose_output(model.spec.key, options.output, request, several), plans)
                plans[path] = replace(plan, request=request)
        except EasyAnimateError as error:
            if options.line is not None:
                error.message = f"Line {options.line} of the batch: {error.message}"
            raise
    return plans


def make_clips(model: Model, plans: Mapping[Path, ClipPlan], display: PhaseDisplay) -> None:
    """Make the clips, write them with their manifests, and print a closing table."""
    check_outputs(plans)
    # The bars of other libraries would break into ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    rows: list[tuple[str, str, str]] = []
    for number, (path, plan) in enumerate(plans.items(), start=1):
        request = replace(plan.request, on_progress=display.show)
        count = f"{number}/{len(plans)} " if len(plans) > 1 else ""
        display.begin(f"{count}{request.task}, seed {request.seed}: {request.prompt}")
        clip = model.make(replace(plan, request=request))
        with display.phase("write"):
            clip.save(path)
        seconds = ", ".join(f"{phase} {spent:.1f}" for phase, spent in display.seconds.items())
        rows.append((str(path), seconds, describe_peak()))
        if not sys.stdout.isatty():
            typer.echo(path)
    print_table(rows, header=("FILE", "SECONDS", "PEAK MEMORY"), error=True)


def make_run() -> Callable[..., None]:
    """`ea run`, as the models that are installed make it."""
    return make_command(part for spec in load_plugins().models().values() for part in spec.part_files)
