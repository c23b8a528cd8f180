"""What this package offers to `ea`: datasets and commands. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import CommandSpec, DatasetSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from easyanimate_core.interfaces import VideoDataset


@hookimpl
def ea_datasets() -> Iterable[DatasetSpec]:
    """The dataset JSON of the original, and clips generated on the fly."""
    yield DatasetSpec(key="json", summary="Clips and images listed in a dataset JSON.", load=_load_json)
    yield DatasetSpec(key="shapes", summary="Moving shapes, generated on the fly; needs no files.", load=_load_shapes)


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """`ea data shapes` and `ea eval shapes`."""
    yield CommandSpec(group="data", name="shapes", summary="Write a dataset of moving shapes.", load=_load_data_shapes)
    yield CommandSpec(
        group="eval", name="shapes", summary="Measure how well a model makes moving shapes.", load=_load_eval_shapes
    )


def _load_json(path: Path, **options: Any) -> VideoDataset:
    from easyanimate_data.dataset import JsonClips

    return JsonClips(path, **options)


def _load_shapes(path: Path | None = None, **options: Any) -> VideoDataset:
    from easyanimate_core import RequestError

    from easyanimate_data.shapes.clip import ShapesClips

    if path is not None:
        raise RequestError("Shapes clips are generated, not read.", received=path, expected="no path, but a count")
    return ShapesClips(**options)


def _load_data_shapes() -> Callable[..., None]:
    from easyanimate_data.shapes.command import generate_shapes

    return generate_shapes


def _load_eval_shapes() -> Callable[..., None]:
    from easyanimate_data.shapes.command import evaluate_shapes

    return evaluate_shapes
