"""What this package offers to `ea`: datasets, filters, captioners and commands. Imports nothing heavy."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from easyanimate_core import CaptionerSpec, CommandSpec, DatasetSpec, FilterSpec, FrameChoice, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from easyanimate_core.dataset import Batchable, VideoDataset


@hookimpl
def ea_datasets() -> Iterable[DatasetSpec]:
    """The dataset JSON of the original, and clips generated on the fly."""
    yield DatasetSpec(key="json", summary="Clips and images listed in a dataset JSON.", load=_load_json)
    yield DatasetSpec(key="shapes", summary="Moving shapes, generated on the fly; needs no files.", load=_load_shapes)


@hookimpl
def ea_filters() -> Iterable[FilterSpec]:
    """Scores that need no network of neurons, and those that do."""
    from easyanimate_data.preparation.scorer.specs import NEURAL_FILTERS

    yield FilterSpec(key="duration", summary="Seconds.", load=None, column="duration", minimum=2.5)
    yield FilterSpec(key="resolution", summary="Height times width.", load=None, column="pixels", minimum=512 * 512)
    yield FilterSpec(
        key="motion",
        summary="Optical flow, in pixels from one frame to the next half a second later.",
        load=_load_motion,
        frames=FrameChoice("rate", 2),
        minimum=2,
    )
    yield FilterSpec(
        key="duplicates",
        summary="Perceptual hashes; the first of clips that look alike is kept.",
        load=_load_duplicates,
        frames=FrameChoice("uniform", 3),
        column="perceptual_hash",
    )
    yield from NEURAL_FILTERS


@hookimpl
def ea_captioners() -> Iterable[CaptionerSpec]:
    """Models of Hugging Face, and servers that speak OpenAI's protocol."""
    from easyanimate_data.preparation.captioner.specs import CAPTIONERS

    yield from CAPTIONERS


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """`ea data ...` and `ea eval shapes`."""
    preparation, shapes = "preparation.command", "shapes.command"
    yield _command("data prepare", "From raw videos to a training set, all stages.", preparation, "prepare_dataset")
    yield _command("data split", "Cut raw videos into clips of one scene each.", preparation, "split")
    yield _command("data score", "Compute scores of clips.", preparation, "score")
    yield _command("data filter", "Drop clips by their scores.", preparation, "filter_clips")
    yield _command("data filters", "List the filters and captioners that are installed.", preparation, "list_filters")
    yield _command("data caption", "Write captions of clips.", preparation, "caption")
    yield _command("data rewrite", "Rewrite captions as prompts.", preparation, "rewrite")
    yield _command("data align", "Drop clips whose captions do not fit.", preparation, "align")
    yield _command("data export", "List the clips that are kept, for training.", preparation, "export")
    yield _command("data report", "Show what came in, what was dropped and why.", preparation, "report")
    yield _command("data shapes", "Write a dataset of moving shapes.", shapes, "generate_shapes")
    yield _command("eval shapes", "Measure how well a model makes moving shapes.", shapes, "evaluate_shapes")


def _command(path: str, summary: str, module: str, function: str) -> CommandSpec:
    group, name = path.split()
    return CommandSpec(group=group, name=name, summary=summary, load=partial(_import, module, function))


def _import(module: str, function: str) -> Callable[..., None]:
    return getattr(import_module(f"easyanimate_data.{module}"), function)


def _load_motion() -> Callable[..., Any]:
    from easyanimate_data.preparation.motion import score_motion

    return score_motion


def _load_duplicates() -> Callable[..., Any]:
    from easyanimate_data.preparation.duplicate import hash_frames

    return hash_frames


def _load_json(path: Path | str, root: Path | str | None = None, **options: Any) -> Batchable:
    from pathlib import Path

    from easyanimate_data.training.training_set import TrainingSet

    return TrainingSet(Path(path), None if root is None else Path(root), **options)


def _load_shapes(path: Path | None = None, **options: Any) -> VideoDataset:
    from easyanimate_core import RequestError

    from easyanimate_data.shapes.clip import ShapesClips

    if path is not None:
        raise RequestError("Shapes clips are generated, not read.", received=path, expected="no path, but a count")
    return ShapesClips(**options)
