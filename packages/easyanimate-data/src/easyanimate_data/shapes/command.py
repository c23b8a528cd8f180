"""The commands `ea data shapes` and `ea eval shapes`."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from easyanimate_core.atomic import atomic_path
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import RequestError
from easyanimate_core.machine import check_writable
from easyanimate_core.model import open_model
from easyanimate_core.options import SettingsReader
from easyanimate_core.request import Progress
from easyanimate_core.reservation import check_name
from easyanimate_core.video import write_image

from easyanimate_data.shapes.caption import LANGUAGES, canonical_caption
from easyanimate_data.shapes.evaluation import (
    ShapesTask,
    TrialResult,
    describe_misses,
    format_table,
    list_trials,
    run_trials,
    summarise,
)
from easyanimate_data.shapes.generation import ShapesSettings, write_shapes
from easyanimate_data.sheet import contact_sheet

if TYPE_CHECKING:
    from easyanimate_core.model import Model
    from easyanimate_core.request import Video

    from easyanimate_data.frames import Frames
    from easyanimate_data.shapes.caption import Language

CaptionLanguage = Literal["en", "zh", "both"]


def _write_shapes(settings: ShapesSettings, *, out: Path, language: CaptionLanguage) -> None:
    """Write clips of moving shapes and the dataset JSON; an interrupted run goes on where it stopped."""
    settings = replace(settings, languages=_choose_languages(language))
    with PhaseDisplay() as display:
        path = write_shapes(out, settings, on_clip=lambda step, total: display.show(Progress("clips", step, total)))
    typer.echo(path)


generate_shapes = SettingsReader(ShapesSettings).command(
    _write_shapes,
    {
        "out": (Annotated[Path, typer.Option("--out", help="Folder for the clips and the dataset JSON.")], ...),
        "language": (Annotated[CaptionLanguage, typer.Option("--language", help="Language of the captions.")], "both"),
    },
)


def evaluate_shapes(  # noqa: PLR0913 (each is an option)
    *,
    model: Annotated[str, typer.Option("--model", help="Key of the model, as `ea models` lists it.")] = "v4",
    weights: Annotated[str, typer.Option("--weights", help="Weights: demo, or what `ea run` takes.")] = "demo",
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="PATH[:WEIGHT]", help="Apply a LoRA."),
    ] = None,
    language: Annotated[CaptionLanguage, typer.Option("--language", help="Language of the prompts.")] = "both",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Clips per combination and language.")] = 1,
    task: Annotated[
        ShapesTask,
        typer.Option("--task", help="Frames given beside the caption."),
    ] = ShapesTask.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for evaluation.json and sheet.png.")] = None,
) -> None:
    """Ask for every combination of shape, colour and direction, judge the clips by their pixels, print the shares."""
    if out is not None:
        _check_folder(out)
    opened = open_model(model, weights=weights, loras=lora or ())
    results, sheet = _run(opened, languages=_choose_languages(language), num_seeds=seeds, task=task)
    rows = summarise(results, task)
    typer.echo(format_table(rows))
    for line in describe_misses(results):
        typer.echo(f"  {line}")
    if out is not None:
        report = {
            "model": model,
            "weights": opened.weights.name,
            "loras": [f"{one.path}:{one.weight}" for one in opened.options.loras],
            "task": task.value,
            "settings": asdict(opened.defaults),
            "summary": rows,
            "clips": [result.to_json() for result in results],
        }
        with atomic_path(out / "evaluation.json") as part:
            part.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_image(out / "sheet.png", sheet)
        typer.echo(f"{out / 'evaluation.json'}\n{out / 'sheet.png'}")


def _check_folder(out: Path) -> None:
    """Raise an error unless the results can be written there, before a model is loaded for it."""
    if out.exists() and not out.is_dir():
        raise RequestError("This is a file, not a folder.", received=out, fix="choose another folder with --out")
    check_name(out / "evaluation.json")
    check_writable(out)


def _run(
    model: Model, *, languages: tuple[Language, ...], num_seeds: int, task: ShapesTask
) -> tuple[list[TrialResult], Frames]:
    """Run all trials with a progress bar; also give the contact sheet of the first language and seed."""
    trials = list_trials(languages, num_seeds)
    shown: list[tuple[Any, str]] = []
    with PhaseDisplay() as display:
        steps = itertools.count(1)

        def take(result: TrialResult, video: Video) -> None:
            if result.trial.language == languages[0] and len(shown) < len(trials) // len(languages) // num_seeds:
                shown.append((video.frames, _title(result)))
            display.show(Progress("clips", next(steps), len(trials)))

        results = run_trials(model, trials, task=task, on_result=take)
    return results, contact_sheet([frames for frames, _ in shown], [title for _, title in shown])


def _title(result: TrialResult) -> str:
    """The caption in English, the built-in font has no Chinese; marked when held out of training or not right."""
    marks = [mark for mark, holds in (("held out", result.trial.held_out), ("WRONG", not result.right["all"])) if holds]
    caption = canonical_caption(result.trial.combination)
    return f"{caption} ({', '.join(marks)})" if marks else caption


def _choose_languages(choice: CaptionLanguage) -> tuple[Language, ...]:
    return LANGUAGES if choice == "both" else (choice,)
