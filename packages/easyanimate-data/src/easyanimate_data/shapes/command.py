"""The commands `ea data shapes` and `ea eval shapes`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from easyanimate_core.atomic import atomic_path
from easyanimate_core.part_files import parse_lora
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import LoadOptions
from easyanimate_core.video import write_image
from easyanimate_core.weights import read_defaults, resolve_weights

from easyanimate_data.shapes.caption import LANGUAGES, canonical_caption
from easyanimate_data.shapes.clip import Style  # noqa: TC001 (typer reads the annotations)
from easyanimate_data.shapes.evaluation import (
    Outcome,
    ShapesTask,
    describe_misses,
    format_table,
    list_trials,
    run_trials,
    summarise,
)
from easyanimate_data.shapes.generation import ShapesSettings, write_shapes
from easyanimate_data.sheet import contact_sheet

if TYPE_CHECKING:
    from easyanimate_core.interfaces import VideoPipeline
    from easyanimate_core.request import Defaults, Video

    from easyanimate_data.frames import Frames
    from easyanimate_data.shapes.caption import Language

CaptionLanguage = Literal["en", "zh", "both"]


def generate_shapes(  # noqa: PLR0913 (each is an option)
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips and the dataset JSON.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many clips.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same clips.")] = 0,
    height: Annotated[int, typer.Option("--height", min=16, help="Pixels.")] = 64,
    width: Annotated[int, typer.Option("--width", min=16, help="Pixels.")] = 64,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of a clip.")] = 16,
    fps: Annotated[float, typer.Option("--fps", min=1, help="Frames per second.")] = 8,
    language: Annotated[CaptionLanguage, typer.Option("--language", help="Language of the captions.")] = "both",
    style: Annotated[Style, typer.Option("--style", help="Filled shapes, or their contours alone.")] = "filled",
) -> None:
    """Write clips of moving shapes and the dataset JSON; an interrupted run goes on where it stopped."""
    settings = ShapesSettings(
        count=count,
        seed=seed,
        num_frames=frames,
        height=height,
        width=width,
        fps=fps,
        languages=_choose_languages(language),
        style=style,
    )
    with typer.progressbar(length=count, label="clips", file=sys.stderr) as bar:
        path = write_shapes(out, settings, on_clip=lambda _done, _total: bar.update(1))
    typer.echo(path)


def evaluate_shapes(  # noqa: PLR0913 (each is an option)
    *,
    model: Annotated[str, typer.Option("--model", help="Key of the model.")] = "v4",
    weights: Annotated[str, typer.Option("--weights", help="demo, a folder, or anything `ea run` takes.")] = "demo",
    lora: Annotated[list[str] | None, typer.Option("--lora", metavar="PATH[:WEIGHT]", help="Apply a LoRA.")] = None,
    language: Annotated[CaptionLanguage, typer.Option("--language", help="Language of the captions.")] = "both",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Clips per combination and language.")] = 1,
    task: Annotated[ShapesTask, typer.Option("--task", help="What is given beside the caption.")] = ShapesTask.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for evaluation.json and sheet.png.")] = None,
) -> None:
    """Ask for every combination of shape, colour and direction, judge the clips by their pixels, print the shares."""
    plugins = load_plugins()
    spec = plugins.model(model)
    found = resolve_weights(weights, model_key=model, sources=plugins.weights(model), check=spec.check_weights)
    defaults = read_defaults(found.folder, spec.defaults) if found.folder else spec.defaults
    loras = tuple(parse_lora(text) for text in lora or ())
    pipeline = spec.load(LoadOptions(weights=found.folder, loras=loras))
    outcomes, sheet = _run(pipeline, defaults, languages=_choose_languages(language), num_seeds=seeds, task=task)
    rows = summarise(outcomes, task)
    typer.echo(format_table(rows))
    for line in describe_misses(outcomes):
        typer.echo(f"  {line}")
    if out is not None:
        report = {
            "model": model,
            "weights": found.name,
            "loras": [f"{one.path}:{one.weight}" for one in loras],
            "task": task.value,
            "settings": asdict(defaults),
            "summary": rows,
            "clips": [outcome.to_json() for outcome in outcomes],
        }
        with atomic_path(out / "evaluation.json") as part:
            part.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_image(out / "sheet.png", sheet)
        typer.echo(f"{out / 'evaluation.json'}\n{out / 'sheet.png'}")


def _run(
    pipeline: VideoPipeline, defaults: Defaults, *, languages: tuple[Language, ...], num_seeds: int, task: ShapesTask
) -> tuple[list[Outcome], Frames]:
    """Run all trials with a progress bar; also give the contact sheet of the first language and seed."""
    trials = list_trials(languages, num_seeds)
    shown: list[tuple[Any, str]] = []
    with typer.progressbar(length=len(trials), label="clips", file=sys.stderr) as bar:

        def take(outcome: Outcome, video: Video) -> None:
            if outcome.trial.language == languages[0] and len(shown) < len(trials) // len(languages) // num_seeds:
                shown.append((video.frames, _title(outcome)))
            bar.update(1)

        outcomes = run_trials(pipeline, trials, task=task, defaults=defaults, on_outcome=take)
    return outcomes, contact_sheet([frames for frames, _ in shown], [title for _, title in shown])


def _title(outcome: Outcome) -> str:
    """The caption in English, the built-in font has no Chinese; marked when held out of training or not right."""
    marks = [
        mark for mark, holds in (("held out", outcome.trial.held_out), ("WRONG", not outcome.right["all"])) if holds
    ]
    caption = canonical_caption(outcome.trial.combination)
    return f"{caption} ({', '.join(marks)})" if marks else caption


def _choose_languages(choice: CaptionLanguage) -> tuple[Language, ...]:
    return LANGUAGES if choice == "both" else (choice,)
