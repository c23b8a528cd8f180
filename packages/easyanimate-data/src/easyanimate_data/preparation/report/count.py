"""What the report counts: sources, clips and hours, and how many clips have which size, frame rate and shape."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Row = Mapping[str, Any]

MOST_VALUES = 12
"""Different values that a table of counts lists; rarer ones are added up."""

_SIDES = ((21, 9), (16, 9), (3, 2), (4, 3), (1, 1), (3, 4), (2, 3), (9, 16), (9, 21))
SHAPES = {f"{width}:{height}": width / height for width, height in _SIDES}


@dataclass(frozen=True)
class Totals:
    """What came in and what is left.

    Args:
        sources: Raw videos.
        empty: Sources that gave no clip, the broken ones among them.
        clips: All clips.
        kept: Clips without a reason.
        dropped: Clips with a reason, the broken ones left out.
        broken: Sources and clips that an error stopped.
        seconds: Length of all clips together.
        kept_seconds: Length of the kept ones.
    """

    sources: int
    empty: int
    clips: int
    kept: int
    dropped: int
    broken: int
    seconds: float
    kept_seconds: float


@dataclass(frozen=True)
class ValueCount:
    """How many clips have a value, and how many of these are kept."""

    value: str
    clips: int
    kept: int


def is_kept(row: Row) -> bool:
    """Whether a row is a clip that nothing dropped."""
    return bool(row.get("file_path")) and not row.get("reason")


def is_broken(row: Row) -> bool:
    """Whether an error stopped a source or a clip."""
    return bool(row.get("error")) and not is_kept(row)


def read_number(row: Row, column: str) -> float | None:
    """A finite number of a row, or None."""
    value = row.get(column)
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def count_totals(rows: Sequence[Row]) -> Totals:
    """Count sources, clips and seconds of a clips table."""
    clips = [row for row in rows if row.get("file_path")]
    kept = [row for row in clips if is_kept(row)]
    sources = {row["source"] for row in rows}
    return Totals(
        sources=len(sources),
        empty=len(sources - {row["source"] for row in clips}),
        clips=len(clips),
        kept=len(kept),
        dropped=sum(not is_kept(row) and not row.get("error") for row in clips),
        broken=sum(map(is_broken, rows)),
        seconds=sum(read_number(row, "duration") or 0.0 for row in clips),
        kept_seconds=sum(read_number(row, "duration") or 0.0 for row in kept),
    )


def count_values(clips: Sequence[Row], describe: Callable[[Row], str | None]) -> list[ValueCount]:
    """Count the values of a property, the most frequent first.

    Args:
        clips: Rows of clips.
        describe: Gives the value of a row as text; None leaves the row out.

    Returns:
        At most `MOST_VALUES` values, and a last line for all others.
    """
    values = [(describe(row), is_kept(row)) for row in clips]
    clips_of = Counter(value for value, _ in values if value is not None)
    kept_of = Counter(value for value, kept in values if value is not None and kept)
    counts = [
        ValueCount(value, count, kept_of[value])
        for value, count in sorted(clips_of.items(), key=lambda item: (-item[1], item[0]))
    ]
    rest = counts[MOST_VALUES:]
    if rest:
        others = ValueCount(f"{len(rest)} others", sum(one.clips for one in rest), sum(one.kept for one in rest))
        counts = [*counts[:MOST_VALUES], others]
    return counts


def describe_size(row: Row) -> str | None:
    """Height x width, in pixels."""
    height, width = read_number(row, "height"), read_number(row, "width")
    return f"{height:.0f} x {width:.0f}" if height and width else None


def describe_rate(row: Row) -> str | None:
    """Frames per second, two decimals at the most."""
    fps = read_number(row, "fps")
    return f"{round(fps, 2):g}" if fps else None


def describe_shape(row: Row) -> str | None:
    """Width by height: as the name of a shape that is within 1 % of it, or as a number."""
    height, width = read_number(row, "height"), read_number(row, "width")
    if not height or not width:
        return None
    ratio = width / height
    names = [f"{name} ({exact:.2f})" for name, exact in SHAPES.items() if abs(ratio / exact - 1) < 0.01]  # noqa: PLR2004
    return names[0] if names else f"{ratio:.2f}"
