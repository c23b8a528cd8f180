"""Clips of moving shapes, drawn on the fly: the training data of the demo weights.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8. Lengths are in pixels of
a 64x64 frame and scale with the size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path  # noqa: TC003 (read_options reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
from easyanimate_core.errors import RequestError
from easyanimate_core.media import MAX_CLIP_BYTES
from easyanimate_core.number_range import NOT_NEGATIVE, SHARE, Range, check_ranges
from numpy.typing import NDArray

from easyanimate_data.shapes.caption import COLOURS, DIRECTIONS, SHAPES, Combination, Language, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_core.dataset import Sample

    from easyanimate_data.frames import Frames

Floats = NDArray[np.float32]

Style = Literal["filled", "outlined"]
STYLES: tuple[Style, ...] = get_args(Style)

COLOUR_VALUES: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "green": (40, 200, 60),
    "blue": (40, 80, 235),
    "yellow": (240, 215, 40),
    "white": (240, 240, 240),
    "purple": (170, 50, 210),
}
"""Mean colour of every name; clips vary around it."""

COMBINATIONS = tuple(Combination(*names) for names in product(SHAPES, COLOURS, DIRECTIONS))
"""All 72 combinations."""

HELD_OUT = tuple(Combination(SHAPES[k % 3], COLOURS[(k + k // 6) % 6], DIRECTIONS[k % 4]) for k in range(7))
"""A tenth that training never sees; no two share a pair of properties, so every pair occurs in training."""

TRAINED = tuple(combination for combination in COMBINATIONS if combination not in HELD_OUT)
"""The combinations that training sees."""

COUNT = Range(1, 1_000_000)
"""How many clips a set may have."""
FRAMES = Range(1, 10_000)
SIDE = Range(16, 4096)
"""Height and width of a clip, in pixels."""

REFERENCE_SIZE = 64
"""Frame size in pixels that lengths are given for."""

GIVEN_FRAMES = 3
"""Frames that image to video gives at an end: the image, repeated."""

MOVING_SHARE = 0.75
"""Share of the shapes in dense clips that move."""

OUTLINE_WIDTH = 3.0
"""Width of the line that outlined shapes are drawn with."""

TRIANGLE_HEIGHT = 1.8
"""Height of a triangle in half-widths; 1.73 would be equilateral."""


@dataclass(frozen=True)
class _Mover:
    """A shape and its straight path: centres [T] along each axis, half-width in pixels, colour [3].

    `line` is the width in pixels of an outlined shape, None for a filled one.
    """

    shape: str
    radius: float
    x: Floats
    y: Floats
    colour: Floats
    line: float | None = None


def render_clip(  # noqa: PLR0913 (keyword-only)
    combination: Combination,
    *,
    rng: np.random.Generator,
    num_frames: int = 16,
    height: int = 64,
    width: int = 64,
    style: Style = "filled",
) -> Frames:
    """Draw one shape that crosses the middle of a dark frame.

    Half-width 12 to 16, way 24 to 32, the way centred in the frame and moved sideways by at most 4; the whole shape
    stays visible. One frame shows the middle of the way. Outlined, only the shape's contour is drawn, 3 wide.

    Returns:
        uint8 [T, H, W, 3].
    """
    scale = min(height, width) / REFERENCE_SIZE
    horizontal = combination.direction in {"left", "right"}
    extent = (width if horizontal else height) / REFERENCE_SIZE
    sign = 1 if combination.direction in {"right", "down"} else -1
    along = sign * _ramp(num_frames) * rng.uniform(24, 32) * extent
    across = np.full(num_frames, rng.uniform(-4, 4) * scale, dtype=np.float32)
    x, y = (along, across) if horizontal else (across, along)
    colour = COLOUR_VALUES[combination.colour] + rng.uniform(-12, 12, 3)
    mover = _Mover(
        combination.shape,
        rng.uniform(12, 16) * scale,
        x + width / 2,
        y + height / 2,
        colour.astype(np.float32),
        OUTLINE_WIDTH * scale if style == "outlined" else None,
    )
    return _draw([mover], ground=_dark_ground(rng), size=(num_frames, height, width))


def render_dense_clip(rng: np.random.Generator, *, num_frames: int = 16, height: int = 64, width: int = 64) -> Frames:
    """Draw two to five shapes of any colour on any ground, some standing still: varied input for a VAE.

    Returns:
        uint8 [T, H, W, 3].
    """
    scale = min(height, width) / REFERENCE_SIZE
    ramp = _ramp(num_frames)
    movers: list[_Mover] = []
    for _ in range(int(rng.integers(2, 6))):
        way = rng.uniform(-40, 40, 2) * scale * (rng.random() < MOVING_SHARE)
        centre = rng.uniform(0.1, 0.9, 2) * (width, height)
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        x, y = (np.float32(centre[axis]) + ramp * np.float32(way[axis]) for axis in range(2))
        movers.append(_Mover(shape, rng.uniform(6, 18) * scale, x, y, _any_colour(rng)))
    ground = _dark_ground(rng) if rng.integers(2) else _any_colour(rng)
    return _draw(movers, ground=ground, size=(num_frames, height, width))


def render_mask_clip(rng: np.random.Generator, *, num_frames: int = 16, height: int = 64, width: int = 64) -> Frames:
    """Draw what conditioning on given frames makes a VAE encode: masks, and clips of which only the ends are there.

    Plain levels, levels that change after the first frames or before the last ones, half frames, and shapes clips
    blacked out between their ends.

    Returns:
        uint8 [T, H, W, 3].
    """
    size = (num_frames, height, width)
    kept = min(GIVEN_FRAMES, num_frames)
    kind = rng.choice(("plain", "start", "ends", "part", "clip start", "clip ends"))
    # A mask is coded as 0 or 1 in the range -1 to 1: grey where pixels are given, white where they are made.
    first, second = rng.choice(((128, 255), (255, 128), (0, 255), (128, 0), (255, 0)), p=(0.4, 0.15, 0.15, 0.15, 0.15))
    frames = np.full((*size, 3), second, dtype=np.uint8)
    if kind in {"start", "ends"}:
        frames[:kept] = first
    if kind == "ends":
        frames[-kept:] = first
    if kind == "part":
        axis = int(rng.integers(1, 3))
        frames.swapaxes(0, axis)[: int(rng.integers(1, size[axis]))] = first
    if kind in {"clip start", "clip ends"}:
        frames[:] = 0
        combination = COMBINATIONS[int(rng.integers(len(COMBINATIONS)))]
        clip = render_clip(combination, rng=rng, num_frames=num_frames, height=height, width=width)
        # Image to video repeats the given image, a source clip goes on moving.
        still = bool(rng.integers(2))
        frames[:kept] = clip[:1] if still else clip[:kept]
        if kind == "clip ends":
            frames[-kept:] = clip[-1:] if still else clip[-kept:]
    return frames


@dataclass(frozen=True)
class ShapesClips:
    """Generated clips as a dataset: item i depends on the seed and on i alone, so it needs no storage.

    Args:
        count: How many items.
        seed: Seed of everything.
        num_frames: Frames of an item.
        height: In pixels.
        width: In pixels.
        languages: Languages of the captions, drawn evenly.
        dense_share: Share of items from `render_dense_clip`, with an empty caption.
        mask_share: Share of items from `render_mask_clip`, with an empty caption.
        style: How captioned clips are drawn; the captions do not tell.
        combinations: What to show; used in turn, so that all are seen equally often.
    """

    count: Annotated[int, COUNT]
    seed: Annotated[int, NOT_NEGATIVE] = 0
    num_frames: Annotated[int, FRAMES] = 16
    height: Annotated[int, SIDE] = 64
    width: Annotated[int, SIDE] = 64
    languages: tuple[Language, ...] = ("en", "zh")
    dense_share: Annotated[float, SHARE] = 0.0
    mask_share: Annotated[float, SHARE] = 0.0
    style: Style = "filled"
    combinations: tuple[Combination, ...] = field(default=TRAINED, repr=False)

    def __post_init__(self) -> None:
        """Refuse an unknown style, and numbers that give no clip."""
        check_ranges(self)
        check_size(self.num_frames, self.height, self.width)
        if self.style not in STYLES:
            raise RequestError("There is no such style of shapes.", received=self.style, expected=" or ".join(STYLES))

    def __len__(self) -> int:
        """How many items there are."""
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        """`frames` uint8 [T, H, W, 3] and `text`."""
        return {"frames": self.frames(index), "text": self.caption(index)}

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The caption of every item."""
        return tuple(self.caption(index) for index in range(self.count))

    def combination(self, index: int) -> Combination:
        """What item `index` shows, unless it is a dense or mask clip."""
        return self.combinations[index % len(self.combinations)]

    def caption(self, index: int) -> str:
        """The caption of item `index`, without drawing it."""
        self._check(index)
        rng = self._rng(index, "caption")
        if self._kind(index) != "shape":
            return ""
        language = self.languages[int(rng.integers(len(self.languages)))]
        return describe(self.combination(index), rng=rng, language=language)

    def frames(self, index: int) -> Frames:
        """The pixels of item `index`: uint8 [T, H, W, 3]."""
        self._check(index)
        rng = self._rng(index, "frames")
        size = {"num_frames": self.num_frames, "height": self.height, "width": self.width}
        kind = self._kind(index)
        if kind == "dense":
            return render_dense_clip(rng, **size)
        if kind == "mask":
            return render_mask_clip(rng, **size)
        return render_clip(self.combination(index), rng=rng, style=self.style, **size)

    def batch(self, indices: Iterable[int]) -> tuple[Frames, list[str]]:
        """The items of `indices` together: uint8 [B, T, H, W, 3] and their captions."""
        chosen = list(indices)
        return np.stack([self.frames(index) for index in chosen]), [self.caption(index) for index in chosen]

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"item {index} of {self.count}")

    def _rng(self, index: int, part: Literal["kind", "caption", "frames"]) -> np.random.Generator:
        return np.random.default_rng((self.seed, index, ("kind", "caption", "frames").index(part)))

    def _kind(self, index: int) -> Literal["shape", "dense", "mask"]:
        if not (self.dense_share or self.mask_share):
            return "shape"
        draw = self._rng(index, "kind").random()
        if draw < self.mask_share:
            return "mask"
        return "dense" if draw < self.mask_share + self.dense_share else "shape"


def _ramp(num_frames: int) -> Floats:
    """Even positions from -1/2 to 1/2; 0 for one frame."""
    if num_frames == 1:
        return np.zeros(1, dtype=np.float32)
    return np.linspace(-0.5, 0.5, num_frames, dtype=np.float32)


def _dark_ground(rng: np.random.Generator) -> Floats:
    """A dark colour [3], nearly grey."""
    return (rng.uniform(8, 36) + rng.uniform(-8, 8, 3)).astype(np.float32)


def _any_colour(rng: np.random.Generator) -> Floats:
    """Any colour [3], or, half the time, one near those with a name."""
    if rng.integers(2):
        return rng.uniform(0, 255, 3).astype(np.float32)
    name = COLOURS[int(rng.integers(len(COLOURS)))]
    return (COLOUR_VALUES[name] + rng.uniform(-12, 12, 3)).astype(np.float32)


def _draw(movers: Sequence[_Mover], *, ground: Floats, size: tuple[int, int, int]) -> Frames:
    """Paint the movers over the ground, the last on top."""
    num_frames, height, width = size
    # One plane per colour keeps the blending contiguous, which is faster than working on interleaved pixels.
    planes = np.empty((3, num_frames, height, width), dtype=np.float32)
    planes[:] = np.clip(ground, 0, 255)[:, None, None, None]
    for mover in movers:
        coverage = _coverage(mover, height, width)
        colour = np.clip(mover.colour, 0, 255)
        for channel in range(3):
            planes[channel] += coverage * (colour[channel] - planes[channel])
    planes += 0.5
    return np.stack([plane.astype(np.uint8) for plane in planes], axis=-1)


def _coverage(mover: _Mover, height: int, width: int) -> Floats:
    """How much of each pixel [T, H, W] the mover covers: its shape, or the line along the inside of its contour."""
    covered = _shape_coverage(mover, height, width)
    return covered if mover.line is None else covered - _shape_coverage(mover, height, width, inset=mover.line)


def _shape_coverage(mover: _Mover, height: int, width: int, *, inset: float = 0.0) -> Floats:
    """How much of each pixel [T, H, W] the shape covers, from the signed distance of the pixel's middle to its edge.

    With `inset`, every edge lies so many pixels farther in.
    """
    # Rows are [T, H, 1], columns [T, 1, W]: what depends on one axis is computed once per row or column.
    dx = np.abs(_middles(width) - mover.x[:, None])[:, None, :]
    dy = (_middles(height) - mover.y[:, None])[:, :, None]
    radius = mover.radius
    if mover.shape == "square":
        return _inside(dx - radius + inset) * _inside(np.abs(dy) - radius + inset)
    if mover.shape == "circle":
        return _inside(np.sqrt(dx * dx + dy * dy) - radius + inset)
    tall = TRIANGLE_HEIGHT * radius
    norm = math.hypot(tall, radius)
    slope = dx * (tall / norm) - (dy + tall / 2) * (radius / norm)
    return _inside(slope + inset) * _inside(dy - tall / 2 + inset)


def _middles(length: int) -> Floats:
    """Where the middles of the pixels lie."""
    return np.arange(length, dtype=np.float32) + np.float32(0.5)


def _inside(distance: NDArray[np.floating]) -> Floats:
    """Coverage 0 to 1 of a pixel whose middle is `distance` outside an edge."""
    return np.clip(0.5 - distance, 0, 1).astype(np.float32, copy=False)


def check_size(num_frames: int, height: int, width: int) -> None:
    """Refuse a clip that memory does not hold.

    Raises:
        RequestError: Its pixels take more than `MAX_CLIP_BYTES`.
    """
    if num_frames * height * width * 3 > MAX_CLIP_BYTES:
        raise RequestError(
            "A clip is too large.",
            received=f"{num_frames} frames of {height}x{width}",
            expected=f"at most {MAX_CLIP_BYTES // 2**30} GiB of pixels",
        )


def open_shapes(  # noqa: PLR0913 (keyword-only)
    path: Path | None = None,
    *,
    count: Annotated[int, COUNT],
    seed: Annotated[int, NOT_NEGATIVE] = 0,
    num_frames: Annotated[int, FRAMES] = 16,
    height: Annotated[int, SIDE] = 64,
    width: Annotated[int, SIDE] = 64,
    languages: tuple[Language, ...] = ("en", "zh"),
    dense_share: Annotated[float, SHARE] = 0.0,
    mask_share: Annotated[float, SHARE] = 0.0,
    style: Style = "filled",
) -> ShapesClips:
    """Make the dataset `shapes`; the options are those of `ShapesClips`.

    Raises:
        RequestError: A path is given, or an option is out of range.
    """
    if path is not None:
        raise RequestError("Shapes clips are generated and need no path.", received=path, expected="a count alone")
    return ShapesClips(
        count,
        seed,
        num_frames,
        height,
        width,
        languages=languages,
        dense_share=dense_share,
        mask_share=mask_share,
        style=style,
    )
