"""The work of scoring: frames of a clip to a filter's score."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.registry import load_plugins

from easyanimate_data.frames import Reader, choose_indices, read_frames, read_timeline
from easyanimate_data.preparation.table import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_core import FilterSpec, FrameChoice

    from easyanimate_data.frames import Frames
    from easyanimate_data.preparation.table import Row


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores clips with the filter of this key, which every worker finds among its own plugins.

    Args:
        key: Of the filter.
        dataset: Folder that the clips' paths start from.
        options: For the filter's model.
        compat: Passed to filters that know the word.
        reader: What decodes the clips.
        batch_size: Clips at a time.
        num_gpus: Graphics cards per worker on a Ray cluster.
    """

    key: str
    dataset: Path
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    compat: bool = False
    reader: Reader = "pyav"
    batch_size: int = 1
    num_gpus: float = 0.0

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the filter's model."""
        spec = load_plugins().filter(self.key)
        if spec.load is None:
            raise RequestError(f"The filter {self.key} computes nothing.", received=self.key)
        function = spec.load(
            **complete_options(spec.load, self.options, compat=self.compat, name=f"filters.{self.key}")
        )

        def score(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            results: list[dict[str, Any] | Exception] = []
            texts = [text_of(row) for row in rows]
            read = [
                read_clip(self.dataset, row, spec.frames, self.reader) if text or not spec.uses_text else None
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


def read_clip(dataset: Path, row: Row, choice: FrameChoice, reader: Reader) -> Frames | Exception:
    """The chosen frames of a row's clip, or why they cannot be had."""
    path = dataset / str(row["file_path"])
    try:
        timeline = read_timeline(path)
        return read_frames(path, choose_indices(timeline, choice), timeline=timeline, reader=reader)
    except Exception as error:  # noqa: BLE001 (whatever a broken file makes a decoder do)
        return error


def complete_options(
    load: Callable[..., Any], options: Mapping[str, Any], *, compat: bool = False, name: str
) -> dict[str, Any]:
    """The options, and `compat` where it is set and `load` knows the word.

    Raises:
        RequestError: For an option that `load` does not know.
    """
    parameters = inspect.signature(load).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(options)
    for option in options:
        if option not in parameters:
            raise RequestError(
                f"Unknown setting {name}.options.{option}.",
                received=option,
                expected=", ".join(parameters) or "no options",
                fix=near_misses(option, parameters),
            )
    return dict(options) | ({"compat": True} if compat and "compat" in parameters else {})


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
