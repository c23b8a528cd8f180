"""Reads shape, colour and direction off the pixels of a clip, to measure what a model trained on shapes clips makes.

Axes: T frames, H height, W width, 3 red, green, blue; coverage is 0 (ground) to 1 (shape) per pixel.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyanimate_data.shapes.caption import DIRECTIONS, Combination
from easyanimate_data.shapes.clip import COLOUR_VALUES, Floats, Style

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easyanimate_data.frames import Frames

SHAPE_FEATURES = {
    "circle": (0.785, 0.6875, 0.98, 0.6875),
    "square": (1.0, 1.0, 1.0, 1.0),
    "triangle": (0.5, 0.167, 0.5, 0.833),
}
"""Area over bounding box, then mean width of the upper, middle and lower third over that of the box; by geometry."""

FARTHEST_SHAPE = 0.35
"""Largest root mean square difference of features that still counts as a shape."""
LEAST_CONTRAST = 60.0
"""Least distance in RGB (0 to 255) between shape and ground."""
HALF = 0.5
"""Coverage at the edge of a shape; also how near the frame's border a whole shape comes, in pixels."""
LEAST_AREA = 0.01
"""Least share of the frame that a shape covers."""
LEAST_PRESENCE = 0.75
"""Least share of frames that show the shape."""
LEAST_WAY = 0.15
"""Least way of the centre, as a share of the frame."""
LEAST_STEADINESS = 0.7
"""Least ratio of way to path: 1 when the centre never turns back."""
WHITE_SATURATION = 0.35
"""Saturation below which a shape is white; the pure colours lie above 0.69."""
MOST_HOLLOW = 0.8
"""Coverage over what is enclosed, below which only a contour is drawn: 0.3 to 0.7, when filled above 0.85."""
CORE_SHARE = 0.02
"""Share of the frame, the farthest from the ground, that gives the shape's colour; the smallest shape covers 6 %."""


@dataclass(frozen=True)
class Verdict:
    """What a clip shows; None where that cannot be told. Confidences are shares of the frames that agree, 0 to 1."""

    shape: str | None
    colour: str | None
    direction: str | None
    style: Style | None
    shape_confidence: float
    colour_confidence: float
    direction_confidence: float

    def agrees(self, combination: Combination) -> bool:
        """Whether shape, colour and direction are all those of `combination`."""
        return (self.shape, self.colour, self.direction) == (
            combination.shape,
            combination.colour,
            combination.direction,
        )


@dataclass(frozen=True)
class _Sight:
    """The shape in one frame: its colour [3], features [4], centre (x, y) in shares of the frame.

    `whole` is whether all of it is in the frame, `hollow` whether only its contour is drawn.
    """

    colour: Floats
    features: Floats
    centre: tuple[float, float]
    whole: bool
    hollow: bool


def judge_clip(frames: Frames) -> Verdict:
    """Tell what moves where.

    The foreground is what differs from the median of the frame's border. Colour is judged by hue, shape by soft area
    over bounding box and by the widths of its thirds, direction by the path of the centre (at least 15 % of the frame,
    mostly monotonous). A shape that leaves the frame is judged while it is whole, where there are such frames. One of
    which only the contour is drawn is judged by what the contour encloses.

    Args:
        frames: uint8 [T, H, W, 3]. One frame has no direction.
    """
    sights = [_look(frame) for frame in frames.astype(np.float32)]
    seen = [sight for sight in sights if sight is not None]
    if len(seen) < LEAST_PRESENCE * len(sights) or not seen:
        return Verdict(None, None, None, None, 0.0, 0.0, 0.0)
    whole = [sight for sight in seen if sight.whole] or seen
    shape = name_shape(np.median([sight.features for sight in whole], axis=0))
    colour = name_colour(np.median([sight.colour for sight in seen], axis=0))
    direction, steadiness = name_direction(np.array([sight.centre for sight in seen]))
    return Verdict(
        shape,
        colour,
        direction,
        "outlined" if 2 * sum(sight.hollow for sight in whole) > len(whole) else "filled",
        Counter(name_shape(sight.features) for sight in whole)[shape] / len(whole),
        Counter(name_colour(sight.colour) for sight in seen)[colour] / len(seen),
        steadiness,
    )


def name_colour(colour: Floats) -> str:
    """The nearest named colour of an RGB value [3] in 0 to 255: white by saturation, the others by hue."""
    hue, saturation = _hue_saturation(colour)
    if saturation < WHITE_SATURATION:
        return "white"
    return min(_HUES, key=lambda name: abs((hue - _HUES[name] + 0.5) % 1 - 0.5))


def name_shape(features: Floats) -> str | None:
    """The shape with the nearest features [4], or None when all are far."""
    distances = {
        name: float(np.sqrt(np.mean((features - np.array(values)) ** 2))) for name, values in SHAPE_FEATURES.items()
    }
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= FARTHEST_SHAPE else None


def name_direction(centres: NDArray[np.floating]) -> tuple[str | None, float]:
    """Direction of a path of centres [T, 2] (x, y in shares of the frame), and its way over its path's length."""
    if len(centres) < 2:  # noqa: PLR2004 - a way has two ends
        return None, 0.0
    way = centres[-1] - centres[0]
    axis = int(np.argmax(np.abs(way)))
    length = float(np.abs(np.diff(centres[:, axis])).sum())
    steadiness = float(abs(way[axis])) / length if length else 0.0
    aside = 2 * abs(way[1 - axis]) > abs(way[axis])
    if abs(way[axis]) < LEAST_WAY or steadiness < LEAST_STEADINESS or aside:
        return None, steadiness
    return DIRECTIONS[2 * axis + int(way[axis] > 0)], steadiness


def _look(frame: Floats) -> _Sight | None:
    """Find the shape in a frame [H, W, 3]; None when there is none."""
    height, width = frame.shape[:2]
    ground = _border_median(frame)
    difference = frame - ground
    contrast = np.linalg.norm(difference, axis=-1)
    core = max(1, int(CORE_SHARE * contrast.size))
    strongest = np.argpartition(contrast, -core, axis=None)[-core:]
    offset = difference.reshape(-1, 3)[strongest].mean(axis=0)
    strength = float(offset @ offset)
    if strength < LEAST_CONTRAST**2:
        return None
    # Projection on the shape's colour; the ends are cut alike, so a blurred edge keeps its area and noise vanishes.
    coverage = np.clip((difference @ offset / strength - 0.1) / 0.8, 0, 1)
    box = _bounding_box(coverage)
    if box is None or coverage.sum() < LEAST_AREA * coverage.size:
        return None
    left, right, top, bottom = box
    columns = slice(max(0, int(left) - 1), int(right) + 2)
    rows = slice(max(0, int(top) - 1), int(bottom) + 2)
    inside = coverage[rows, columns]
    enclosed = _fill(inside)
    hollow = bool(inside.sum() < MOST_HOLLOW * enclosed.sum())
    inside = enclosed if hollow else inside
    area = float(inside.sum())
    x = float(inside.sum(axis=0) @ (np.arange(width)[columns] + 0.5)) / area
    y = float(inside.sum(axis=1) @ (np.arange(height)[rows] + 0.5)) / area
    thirds = _third_widths(inside.sum(axis=1), top - rows.start, bottom - rows.start)
    features = np.array([area / (bottom - top), *thirds], dtype=np.float32) / (right - left)
    whole = min(left, top) >= HALF and right <= width - HALF and bottom <= height - HALF
    return _Sight(ground + offset, features, (x / width, y / height), whole, hollow)


def _fill(coverage: Floats) -> Floats:
    """The coverage with all covered between the first and the last pixel of each row that a shape covers half of."""
    solid = coverage >= HALF
    begun = np.logical_or.accumulate(solid, axis=1)
    to_end = np.logical_or.accumulate(solid[:, ::-1], axis=1)[:, ::-1]
    return np.where(begun & to_end, np.float32(1), coverage)


def _border_median(frame: Floats) -> Floats:
    """Median colour of the frame's outermost two pixels."""
    edges = (frame[:2], frame[-2:], frame[2:-2, :2], frame[2:-2, -2:])
    return np.median(np.concatenate([edge.reshape(-1, 3) for edge in edges]), axis=0)


def _bounding_box(coverage: Floats) -> tuple[float, float, float, float] | None:
    """Left, right, top, bottom where the coverage passes one half, to parts of a pixel."""
    smooth = (coverage + np.roll(coverage, 1, axis=0) + np.roll(coverage, -1, axis=0)) / 3
    across = _half_crossings(smooth.max(axis=0))
    smooth = (coverage + np.roll(coverage, 1, axis=1) + np.roll(coverage, -1, axis=1)) / 3
    along = _half_crossings(smooth.max(axis=1))
    return None if across is None or along is None else (*across, *along)


def _half_crossings(profile: Floats) -> tuple[float, float] | None:
    """Where a profile first and last passes one half, in pixels from the start; the ends where it never falls."""
    above = np.flatnonzero(profile >= HALF)
    if not len(above):
        return None
    first, last = int(above[0]), int(above[-1])
    start, end = 0.0, float(len(profile))
    if first > 0:
        start = first + 0.5 - (profile[first] - HALF) / (profile[first] - profile[first - 1])
    if last < len(profile) - 1:
        end = last + 0.5 + (profile[last] - HALF) / (profile[last] - profile[last + 1])
    return float(start), float(end)


def _third_widths(widths: Floats, top: float, bottom: float) -> list[float]:
    """Mean width in each third between top and bottom, of widths per row."""
    summed = np.concatenate([[0.0], np.cumsum(widths)])
    area = np.interp(np.linspace(top, bottom, 4), np.arange(len(summed)), summed)
    return list(np.diff(area) / ((bottom - top) / 3))


def _hue_saturation(colour: Floats) -> tuple[float, float]:
    red, green, blue = (float(value) / 255 for value in np.clip(colour, 0, 255))
    hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    return hue, saturation


_HUES = {name: _hue_saturation(np.array(value))[0] for name, value in COLOUR_VALUES.items() if name != "white"}
