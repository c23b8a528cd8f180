"""Histograms of the report: where bars, ticks and thresholds lie on a small drawing, in its own units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 38, 344, 34, 164
"""The drawing and, in it, the edges of the plot; y points down."""

NUM_BINS = 25
NUM_TICKS = 6
FARTHEST = 4.0
"""How far beyond the values a threshold may lie, in widths of their range, and still be on the axis."""


@dataclass(frozen=True)
class Bar:
    """A bin: the kept clips at the bottom, the dropped ones on top; y is an upper edge."""

    x: float
    width: float
    kept_y: float
    kept_height: float
    dropped_y: float
    dropped_height: float
    title: str


@dataclass(frozen=True)
class Mark:
    """A tick of an axis, or a threshold.

    Args:
        position: x or y in the drawing.
        label: Its text.
        anchor: Side of `position` where the text of a threshold stands: "start" is right of it.
        outside: Whether a threshold lies beyond the axis, so that it only gets an arrow.
    """

    position: float
    label: str
    anchor: str = "start"
    outside: bool = False


@dataclass(frozen=True)
class Histogram:
    """A drawing, `WIDTH` x `HEIGHT`."""

    bars: list[Bar]
    x_ticks: list[Mark]
    y_ticks: list[Mark]
    bounds: list[Mark]


def draw_histogram(
    kept: Sequence[float], dropped: Sequence[float], *, minima: Iterable[float] = (), maxima: Iterable[float] = ()
) -> Histogram | None:
    """Draw how numbers are distributed.

    Args:
        kept: Finite numbers of clips that are kept.
        dropped: Those of the others, drawn on top.
        minima: Thresholds below which clips are dropped.
        maxima: Thresholds above which they are.

    Returns:
        The drawing, None without numbers.
    """
    values = [*kept, *dropped]
    if not values:
        return None
    minima, maxima = list(minima), list(maxima)
    low, high, bin_width = _choose_axis(values, [*minima, *maxima])
    num_bins = max(round((high - low) / bin_width), 1)
    counts = [[0] * num_bins, [0] * num_bins]
    for side, numbers in enumerate((kept, dropped)):
        for number in numbers:
            counts[side][min(int((number - low) / bin_width + 1e-9), num_bins - 1)] += 1
    most = max(map(sum, zip(*counts, strict=True)))
    y_step = max(round(_round_step(most / 4)), 1)
    top = math.ceil(most / y_step) * y_step

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (RIGHT - LEFT), 2)

    def y(count: float) -> float:
        return round(BOTTOM - count / top * (BOTTOM - TOP), 2)

    bars = []
    for index, (num_kept, num_dropped) in enumerate(zip(*counts, strict=True)):
        if not num_kept and not num_dropped:
            continue
        begin, end = low + index * bin_width, low + (index + 1) * bin_width
        all_y, kept_y = y(num_kept + num_dropped), y(num_kept)
        title = f"{begin:.5g} to {end:.5g}: {num_kept} kept, {num_dropped} dropped"
        width = round(x(end) - x(begin) - 1, 2)
        bars.append(Bar(x(begin), width, kept_y, round(BOTTOM - kept_y, 2), all_y, round(kept_y - all_y, 2), title))
    slack = 1e-6 * bin_width
    bounds = [(value, f"min {value:g}") for value in minima] + [(value, f"max {value:g}") for value in maxima]
    return Histogram(
        bars=bars,
        x_ticks=[Mark(x(tick), f"{tick:.6g}") for tick in _ticks(low, high)],
        y_ticks=[Mark(y(tick), f"{tick:g}") for tick in range(0, top + 1, y_step)],
        bounds=[
            _mark_bound(x(min(max(value, low), high)), label, low - slack <= value <= high + slack)
            for value, label in bounds
        ],
    )


def _choose_axis(values: Sequence[float], bounds: Sequence[float]) -> tuple[float, float, float]:
    """Ends of the axis, on edges of bins, and the width of a bin; near thresholds are on it."""
    low, high = min(values), max(values)
    tiny = 1e-9 * max(abs(low), abs(high))
    if high - low <= tiny:  # all equal
        half = abs(low) / 2 or 0.5
        near = [bound for bound in bounds if abs(bound - low) <= FARTHEST * 2 * half]
        low, high = min([low - half / 2, *near]), max([high + half / 2, *near])
        bin_width = _round_step((high - low) / NUM_BINS)
    else:
        bin_width = _round_step((high - low) / NUM_BINS)
        near = [bound for bound in bounds if low - bound <= FARTHEST * (high - low) >= bound - high]
        low, high = min([low, *near]), max([high, *near])
    first = math.floor(low / bin_width + 1e-9)
    last = max(math.ceil(high / bin_width - 1e-9), first + 1)
    return first * bin_width, last * bin_width, bin_width


def _mark_bound(position: float, label: str, inside: bool) -> Mark:
    """The label of a threshold stands on the side where there is more room."""
    right = position > (LEFT + RIGHT) / 2
    if not inside:
        label = f"{label} \N{RIGHTWARDS ARROW}" if right else f"\N{LEFTWARDS ARROW} {label}"
    return Mark(position, label, "end" if right else "start", not inside)


def _ticks(low: float, high: float) -> list[float]:
    step = _round_step((high - low) / NUM_TICKS)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _round_step(step: float) -> float:
    """The least of 1, 2, 5, 10, ... times a power of ten that is not less than `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
