"""`ea run`: from the command line to files, with everything checked before the model is loaded."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import EasyAnimateError, PluginError, RequestError
from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.memory import describe_peak
from easyanimate_core.model import open_model
from easyanimate_core.options import THREADS_OPTION, option, with_options
from easyanimate_core.printable import printable
from easyanimate_core.registry import load_plugins
from easyanimate_core.reservation import find_free, reserve
from easyanimate_core.video import read_video

from easyanimate_cli.options import MAX_VIDEOS, list_options, make_clip, read_batch, read_options
from easyanimate_cli.output import check_outputs, choose_output, describe_other_names
from easyanimate_cli.table import is_terminal, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from inspect import Parameter

    from easyanimate_core.clip import ClipPlan
    from easyanimate_core.model import Model
    from easyanimate_core.spec import ModelSpec, PartFile

    from easyanimate_cli.options import ClipOptions

_LOG = logging.getLogger(PROJECT)

DTYPES = Literal["bfloat16", "float16", "float32"]

_MODEL = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="KEY", help="Key of the model; `ea models` lists them (the newest unless given)."
    ),
]
WEIGHTS = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Weights of the model: auto, a name from `ea weights`, a folder, or a Hugging Face repository "
        "(auto unless given: the official ones where they are here).",
    ),
]
DTYPE = Annotated[DTYPES | None, typer.Option(help="Number format of the model (what suits the device unless given).")]
DEVICE = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Device to run on: cuda, cuda:1, mps or cpu (the best there is unless given)."),
]
OVERWRITE = Annotated[bool, typer.Option("--overwrite", help="Replace a file that has the name of the output.")]

_FIRST: dict[str, tuple[Any, Any]] = {
    "words": (
        Annotated[list[str] | None, typer.Argument(metavar="PROMPT", hidden=True)],
        None,
    ),
    "model": (_MODEL, None),
    "weights": (WEIGHTS, None),
}
_LAST: dict[str, tuple[Any, Any]] = {
    "overwrite": (OVERWRITE, False),
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
    "dtype": (DTYPE, None),
    "device": (DEVICE, None),
    "threads": THREADS_OPTION,
    "batch": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="PATH",
                help="File of clips, a line each: a prompt; or JSON with these options by name, such as "
                '{"prompt": "...", "seed": 7}; or CSV whose first line names options.',
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
        """Make a video or an image: ea run "a red circle moves to the right".

        PROMPT, in quotes, says what it shows, as --prompt does. What is not given comes from the weights or from the
        model. The path of every file goes to standard output, all else to standard error.
        """
        given = read_options({name: options[setting.name] for name, setting in clip_options.items()})
        given |= _read_prompt(options["words"] or [], given)
        batch: Path | None = options["batch"]
        if batch is None and "prompt" not in given:
            raise RequestError(
                "There is no prompt.", expected="a prompt, or --batch FILE", fix='ea run "what the video shows"'
            )
        asked = [make_clip(given)] if batch is None else read_batch(batch, given)
        with PhaseDisplay() as display:
            model = open_model(
                options["model"] or choose_model(load_plugins().models()),
                weights=options["weights"] or "auto",
                device=options["device"],
                dtype=options["dtype"],
                loras=options["lora"] or (),
                **{name: options[name] for name in part_files},
            )
            make_clips(model, plan_clips(model, asked), display, overwrite=options["overwrite"])

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


def _read_prompt(words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt that stands alone on the command line."""
    if not words:
        return {}
    if len(words) > 1:
        raise RequestError(
            "A prompt of several words stands in quotes.",
            received=" ".join(words),
            fix=f'ea run "{" ".join(words)}"',
        )
    if "prompt" in given:
        raise RequestError(
            "There are two prompts.",
            received=f"{words[0]!r} and --prompt {given['prompt']!r}",
            fix="give one of them",
        )
    return {"prompt": words[0]}


def choose_model(models: Mapping[str, ModelSpec]) -> str:
    """The newest model of this project that is installed, or the only one; says so in a line.

    Raises:
        PluginError: There is none, or there are several and none of them is this project's.
    """
    numbers = {int(found[1]): key for key in models if (found := re.fullmatch(r"v(\d+)", key))}
    if not numbers and len(models) != 1:
        raise PluginError(
            "Which model?" if models else "No model is installed.",
            expected=", ".join(models) or None,
            fix="name one with --model" if models else "pip install easyanimate-v4",
        )
    key = numbers[max(numbers)] if numbers else next(iter(models))
    _note(
        f"The model is {key}, {'the newest' if numbers else 'the only one'} that is installed; --model names another."
    )
    return key


def plan_clips(model: Model, asked: Sequence[ClipOptions]) -> list[tuple[Path, ClipPlan]]:
    """The clips that are to be made, with the file to write."""
    total = sum(options.num_videos for options in asked)
    if total > MAX_VIDEOS:
        raise RequestError("These are too many clips for one run.", received=total, expected=f"up to {MAX_VIDEOS}")
    plans: list[tuple[Path, ClipPlan]] = []
    outputs = Counter(options.output for options in asked)
    for options in asked:
        try:
            settings = dict(options.settings)
            if options.seconds is not None:
                settings["num_frames"] = find_frames(options.seconds, model, settings)
            plan = model.plan(**settings)
            if options.is_drawn:
                _note(f"The seed {plan.request.seed} was drawn.")
            several = options.num_videos > 1
            for number in range(options.num_videos):
                request = replace(plan.request, seed=plan.request.seed + number)
                # Several lines may have one output, which the command line named for all of them.
                is_folder = outputs[options.output] > 1 and options.output and not Path(options.output).suffix
                output = f"{options.output}/" if is_folder else options.output
                path = choose_output(model.spec.key, output, request, number + 1 if several else None)
                plans.append((path, replace(plan, request=request)))
        except EasyAnimateError as error:
            if options.line is not None:
                error.message = f"Line {options.line} of the batch: {error.message}"
            raise
    return plans


def find_frames(seconds: float, model: Model, settings: Mapping[str, Any]) -> int:
    """The number of frames nearest to a length that the model can make; says so where it is another length.

    Raises:
        RequestError: The model makes no clip so long.
        MediaError: The source video, whose rate counts, cannot be read.
    """
    rate = settings.get("fps") or _find_rate(settings) or model.defaults.fps
    wanted, rule = max(round(seconds * rate), 1), model.spec.shapes
    if rule is None:
        return wanted
    if settings.get("segment_frames") is not None:  # a long video is bound to the grid of its segments, not to a length
        rule = replace(rule, max_frames=max(rule.max_frames, 2 * wanted))
    low, high = rule.near_frames(wanted)
    longest = rule.near_frames(rule.max_frames)[0]
    if wanted > longest and wanted - longest >= rate / 2:
        raise RequestError(
            "The clip is too long for this model.",
            received=f"{seconds:g} seconds at {rate:g} frames per second: {wanted} frames",
            expected=rule.describe_frames(),
            fix=f"--seconds {math.floor(10 * longest / rate) / 10:g}, or a long video: --segment {longest}",
        )
    nearest = high if low == 1 or high - wanted <= wanted - low else low
    if nearest != wanted:
        _note(f"{seconds:g} seconds become {nearest / rate:.3g}: {nearest} frames at {rate:g} per second.")
    return nearest


def _find_rate(settings: Mapping[str, Any]) -> float | None:
    """Frames per second that a clip takes over from its source video."""
    if settings.get("video") is None:
        return None
    return settings.get("video_fps") or read_video(Path(settings["video"]), max_frames=1).fps


def make_clips(
    model: Model, plans: Sequence[tuple[Path, ClipPlan]], display: PhaseDisplay, *, overwrite: bool = False
) -> list[Path]:
    """Make the clips, write them with their manifests, print their paths as they are done, and a closing table.

    Returns:
        The files that were written.
    """
    check_outputs(plans)
    # The bars of other libraries would break into ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    rows: list[tuple[str, str, str]] = []
    wanted = [path for path, _ in plans]
    written: list[Path] = []
    with reserve(wanted, overwrite=overwrite) as paths:
        for line in describe_other_names(wanted, paths):
            _note(line)
        names = {path.name.casefold() for path in paths}
        for number, (reserved, (_, plan)) in enumerate(zip(paths, plans, strict=True), start=1):
            request = replace(plan.request, on_progress=display.show)
            count = f"{number}/{len(plans)} " if len(plans) > 1 else ""
            display.begin(f"{count}{request.task}, seed {request.seed}: {request.prompt}")
            clip = model.make(replace(plan, request=request))
            path = reserved
            if not overwrite and os.path.lexists(path):  # somebody else made it in the meantime
                path = find_free(path, names)
                _note(f"{reserved} has come to be in the meantime, so {path.name} is written.")
            with display.phase("write"):
                clip.save(path)
            written.append(path)
            seconds = ", ".join(f"{phase} {spent:.1f}" for phase, spent in display.seconds.items())
            rows.append((str(path), seconds, describe_peak()))
            print_path(path)
    print_table(rows, header=("FILE", "SECONDS", "PEAK MEMORY"), error=True)
    return written


def print_path(path: Path) -> None:
    """Print a path on standard output, on one line that is not broken; on a terminal it cannot steer that."""
    text = printable(str(path)) if is_terminal(sys.stdout) else str(path)
    # Not by Typer, which keeps the stream of the first call: what is drawn beside bars passes through another one.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _note(line: str) -> None:
    """Show a line that is worth reading, where nothing is wrong."""
    _LOG.warning(line, extra={"is_note": True})


def make_run() -> Callable[..., None]:
    """`ea run`, as the models that are installed make it."""
    return make_command(part for spec in load_plugins().models().values() for part in spec.part_files)
