"""The work of a filter's stage: frames of clips to scores."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core import Work
from easyanimate_core.config import read_options
from easyanimate_core.errors import RequestError
from easyanimate_core.image import read_image
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.table import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easyanimate_core import FilterSpec, FrameChoice, StageContext

    from easyanimate_data.frames import Frames
    from easyanimate_data.preparation.table import Row

_OVER_TIME = ("rate", "key")
"""Choices of frames that mean something for moving pictures only."""


@dataclass(frozen=True)
class Score(Work):
    """Scores clips with a filter, which every worker finds among its own plugins.

    Args:
        key: Key of the filter.
    """

    key: str

    @property
    def batch_size(self) -> int:
        """A filter that takes one clip at a time is given one."""
        return self.context.batch_size if self._spec.batched else 1

    @property
    def num_gpus(self) -> float:
        """A filter that takes no device needs none."""
        return self.context.gpus_per_worker if takes_device(self._load) else 0.0

    @property
    def depends_on(self) -> Mapping[str, Any]:
        """Options of the model; not the bounds, which can be tried again."""
        return {"options": self.settings.options, "compat": self.context.compat}

    def check(self) -> None:
        """Refuse options that the filter does not know."""
        self._complete_options()

    def check_needs(self) -> None:
        """Refuse where what the filter's model needs is not there."""
        if self._spec.check:
            self._spec.check(**add_defaults(self._load, self._complete_options()))

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the filter's model."""
        spec = self._spec
        function = self._load(**self._complete_options())

        def score(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            results: list[dict[str, Any] | Exception] = []
            texts = [text_of(row) for row in rows]
            read = [
                None
                if (spec.uses_text and not text) or (_is_still(row) and spec.frames.kind in _OVER_TIME)
                else read_clip(self.context, row, spec.frames)
                for row, text in zip(rows, texts, strict=True)
            ]
            good = [i for i, frames in enumerate(read) if frames is not None and not isinstance(frames, Exception)]
            values = _call(spec, function, [cast("Frames", read[i]) for i in good], [texts[i] for i in good])
            answers = dict(zip(good, values, strict=True))
            for i, frames in enumerate(read):
                if isinstance(frames, Exception):
                    results.append(frames)
                else:
                    results.append(_columns(spec, answers.get(i)))
            return results

        return score

    @property
    def _spec(self) -> FilterSpec:
        return load_plugins().filter(self.key)

    @property
    def _load(self) -> Callable[..., Callable[..., Any]]:
        load = self._spec.load
        if load is None:
            raise RequestError(f"The filter {self.key} computes no score.", received=self.key)
        return load

    def _complete_options(self) -> dict[str, Any]:
        name = f"filters.{self.key}"
        return complete_options(self._load, self.settings.options, compat=self.context.compat, name=name)


def read_clip(context: StageContext, row: Row, choice: FrameChoice) -> Frames | Exception:
    """The chosen frames of a row's clip, or why they cannot be read; of an image the one that there is."""
    from easyanimate_data.frames import choose_indices, read_frames
    from easyanimate_data.timeline import read_timeline

    path = context.dataset / str(row["file_path"])
    try:
        if _is_still(row):
            return read_image(path)[None]
        timeline = read_timeline(path)
        return read_frames(path, choose_indices(timeline, choice), timeline=timeline, reader=context.reader)
    except Exception as error:  # noqa: BLE001 (whatever a broken file makes a decoder do)
        return error


def _is_still(row: Row) -> bool:
    return row.get("type") == "image"


def takes_device(load: Callable[..., Any]) -> bool:
    """Whether what is loaded can run on a graphics card."""
    return "device" in inspect.signature(load).parameters


def complete_options(
    load: Callable[..., Any], options: Mapping[str, Any], *, compat: bool = False, name: str
) -> dict[str, Any]:
    """The options, and `compat` where it is set and `load` takes it.

    Raises:
        RequestError: For an option that `load` does not take, or a value that does not fit.
    """
    read = read_options(load, options, f"{name}.options")
    return read | ({"compat": True} if compat and "compat" in inspect.signature(load).parameters else {})


def add_defaults(load: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, and what `load` takes for those that are not given."""
    parameters = inspect.signature(load).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty} | dict(options)


def _call(spec: FilterSpec, function: Callable[..., Any], clips: list[Frames], texts: list[str]) -> list[Any]:
    if not clips:
        return []
    if spec.batched:
        return list(function(clips, texts) if spec.uses_text else function(clips))
    if spec.uses_text:
        return [function(frames, text) for frames, text in zip(clips, texts, strict=True)]
    return [function(frames) for frames in clips]


def _columns(spec: FilterSpec, answer: Any) -> dict[str, Any]:
    """The values of a row: a filter that gives a number fills its own column."""
    if isinstance(answer, Mapping):
        return dict(cast("Mapping[str, Any]", answer))
    return {spec.column: None if answer is None else float(answer)}
