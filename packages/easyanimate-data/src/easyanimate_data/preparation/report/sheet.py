"""The contact sheets of the report: clips by what became of them, each with a strip of small frames."""

from __future__ import annotations

import base64
import io
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.image import read_image
from PIL import Image

from easyanimate_data.frames import read_frames
from easyanimate_data.preparation.report.count import is_kept, read_number
from easyanimate_data.preparation.table import text_of
from easyanimate_data.timeline import read_timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from easyanimate_data.preparation.rule import Threshold

NUM_FRAMES = 4
PICTURE_WIDTH, PICTURE_HEIGHT = 320, 160
"""Most pixels of a small frame."""

JPEG_QUALITY = 70
KEPT = "kept"


@dataclass(frozen=True)
class CardScore:
    """A score on a card, as text; `outside` when it is out of the range that is kept."""

    column: str
    value: str
    outside: bool


@dataclass(frozen=True)
class Card:
    """A clip on a contact sheet.

    Args:
        name: Its path below the data set.
        facts: Length and size in words.
        pictures: Small frames as data URIs; none when the clip cannot be read.
        tall: Whether they are higher than wide.
        problem: Why it cannot be read.
        scores: Its numbers.
        like: The clip that it looks like, if that is why it was dropped.
        error: What stopped it in a stage.
        caption: The text about it.
    """

    name: str
    facts: str
    pictures: list[str]
    tall: bool
    problem: str
    scores: list[CardScore]
    like: str
    error: str
    caption: str


@dataclass(frozen=True)
class Sheet:
    """Clips of one fate: `title` is "kept" or the reason, `total` counts those not shown as well."""

    title: str
    total: int
    cards: list[Card]


def choose_evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, evenly spread from the first to the last."""
    indices = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[index] for index in indices]


def make_sheets(
    dataset: Path,
    clips: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    thresholds: Sequence[Threshold],
    max_clips: int,
) -> list[Sheet]:
    """Lay out the kept clips, then the dropped ones by reason, the most frequent reason first.

    Args:
        dataset: Folder that `file_path` is relative to.
        clips: Rows of clips.
        columns: Numbers that are written below each clip.
        thresholds: Which numbers are out of range.
        max_clips: Clips on a sheet.
    """
    fates: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in clips:
        fates[KEPT if is_kept(row) else str(row["reason"])].append(row)
    order = sorted(fates.items(), key=lambda item: (item[0] != KEPT, -len(item[1]), item[0]))
    return [
        Sheet(
            title, len(rows), [_make_card(dataset, row, columns, thresholds) for row in choose_evenly(rows, max_clips)]
        )
        for title, rows in order
    ]


def cut_text(text: str, most: int) -> str:
    """The beginning of a text that is far longer than `most` Latin letters, or all of it; Chinese ones are wide."""
    widths = np.cumsum([1 + (unicodedata.east_asian_width(char) in "WF") for char in text])
    return text if not text or widths[-1] <= 1.25 * most else text[: int(np.searchsorted(widths, most, "right"))]


def _make_card(dataset: Path, row: Mapping[str, Any], columns: Sequence[str], thresholds: Sequence[Threshold]) -> Card:
    numbers = {column: number for column in columns if (number := read_number(row, column)) is not None}
    scores = [
        CardScore(column, f"{number:.4g}", any(line.column == column and not line.keeps(number) for line in thresholds))
        for column, number in numbers.items()
    ]
    pictures, problem = _picture_clip(dataset / row["file_path"], still=row.get("type") == "image")
    about = {"duration": "{:.1f} s", "num_frames": "{:.0f} frames", "height": "{:.0f} high", "width": "{:.0f} wide"}
    facts = [text.format(number) for column, text in about.items() if (number := read_number(row, column))]
    return Card(
        name=row["file_path"],
        facts=", ".join(facts),
        pictures=pictures,
        tall=(read_number(row, "height") or 0) > (read_number(row, "width") or 0),
        problem=problem,
        scores=scores,
        like=str(row.get("duplicate_of") or ""),
        error=str(row.get("error") or ""),
        caption=text_of(row),
    )


def _picture_clip(path: Path, *, still: bool) -> tuple[list[str], str]:
    """Frames from the first to the last as data URIs, or none and why."""
    try:
        if still:
            return [_encode(Image.fromarray(read_image(path)))], ""
        timeline = read_timeline(path)
        indices = sorted({int(index) for index in np.linspace(0, len(timeline) - 1, NUM_FRAMES).round()})
        frames = read_frames(path, indices, timeline=timeline)
    except (MediaError, OSError) as error:
        return [], getattr(error, "message", None) or str(error)
    return [_encode(Image.fromarray(frame)) for frame in frames], ""


def _encode(image: Image.Image) -> str:
    image.thumbnail((PICTURE_WIDTH, PICTURE_HEIGHT))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
