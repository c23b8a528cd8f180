"""All arithmetic between pixels and latents: frames, strides, chunks, sizes, and how a picture fits a size.

Axes: T frames, H height, W width; a latent frame stands for `chunk_frames / chunk_latents` frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from easyanimate_core.errors import RequestError


@dataclass(frozen=True)
class PixelShape:
    """Size of a clip in pixels."""

    num_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class LatentShape:
    """Size of a clip in latent positions."""

    num_frames: int
    height: int
    width: int


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels from "HEIGHTxWIDTH", with x, X, * or the sign of multiplication, and spaces.

    Raises:
        RequestError: It is no size.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*[x*\u00d7]\s*(\d{1,9})\s*", text, re.IGNORECASE)
    if not match:
        raise RequestError(
            "A size is height x width in pixels.",
            received=text,
            expected="HEIGHTxWIDTH",
            fix="for example --size 384x672",
        )
    return int(match[1]), int(match[2])


Fit = Literal["crop", "pad", "stretch"]
"""How a picture of another shape comes to the size of a clip: its middle, the whole with black bars, or distorted."""


@dataclass(frozen=True)
class Fitting:
    """A part of a picture is scaled to a size, and lies in the middle of a black clip.

    Args:
        left: Where the part begins in the picture, as a share of its width.
        top: The same of its height.
        width: Width of the part, as a share.
        height: The same of the height.
        scaled_width: In pixels of the clip.
        scaled_height: The same.
    """

    left: float
    top: float
    width: float
    height: float
    scaled_width: int
    scaled_height: int


def fit_picture(height: int, width: int, pixels: PixelShape, fit: Fit) -> Fitting:
    """How a picture of this height and width comes to the size of a clip.

    "crop" cuts off what is beyond the middle part that has the shape of the clip; "pad" keeps all and leaves bars;
    "stretch" keeps all and fills the clip.
    """
    if fit == "crop":
        share_high = min(1.0, pixels.height * width / (pixels.width * height))
        share_wide = min(1.0, pixels.width * height / (pixels.height * width))
        left, top = (1 - share_wide) / 2, (1 - share_high) / 2
        return Fitting(left, top, share_wide, share_high, pixels.width, pixels.height)
    if fit == "pad":
        scale = min(pixels.height / height, pixels.width / width)
        return Fitting(0, 0, 1, 1, max(round(width * scale), 1), max(round(height * scale), 1))
    return Fitting(0, 0, 1, 1, pixels.width, pixels.height)


@dataclass(frozen=True)
class ShapeRule:
    """Which clips a model version can make, and the latents they correspond to.

    Args:
        size_multiple: Height and width are multiples of this.
        chunk_frames: Frames that are coded together: frame counts are multiples of it, or 1 for an image.
        chunk_latents: Latent frames that one chunk is coded to.
        first_frames: Frames before the first chunk, each coded to one latent frame. Many causal VAEs have 1: frame
            counts are then 1 + k * chunk_frames.
        spatial_stride: Pixels per latent position along height and width.
        max_frames: The longest clip accepted.
        max_size: The longest side accepted, in pixels.
        image: Whether a single frame is possible.
    """

    size_multiple: int = 16
    chunk_frames: int = 8
    chunk_latents: int = 2
    spatial_stride: int = 8
    max_frames: int = 144
    max_size: int = 2048
    image: bool = True
    first_frames: int = 0

    def check(self, shape: PixelShape) -> None:
        """Raise `RequestError`, naming the nearest valid values, unless `shape` follows the rule."""
        for name, value in (("height", shape.height), ("width", shape.width)):
            if value % self.size_multiple or not self.size_multiple <= value <= self.max_size:
                low, high = self.near_sizes(value)
                raise RequestError(
                    f"The {name} does not fit this model.",
                    received=f"{name} {value} of {shape.height}x{shape.width} (height x width)",
                    expected=f"multiples of {self.size_multiple} from {self.size_multiple} to {self.max_size}",
                    fix=f"use {low}" if low == high else f"use {low} or {high}",
                )
        frames = shape.num_frames
        if self.image and frames == 1:
            return
        if frames not in self.near_frames(frames):
            low, high = self.near_frames(frames)
            raise RequestError(
                "The number of frames does not fit this model.",
                received=f"{frames} frames",
                expected=self.describe_frames(),
                fix=f"use {low}" if low == high else f"use {low} or {high}",
            )

    def near_sizes(self, value: int) -> tuple[int, int]:
        """The valid sizes just below (or at) and just above `value`."""
        return _neighbours(value, self.size_multiple, self.size_multiple, self.max_size)

    def near_frames(self, value: int) -> tuple[int, int]:
        """The valid frame counts just below (or at) and just above `value`."""
        first, chunk = self.first_frames, self.chunk_frames
        low, high = (first + near for near in _neighbours(value - first, chunk, chunk, self.max_frames - first))
        return (1, low) if self.image and value < low else (low, high)

    def usual_overlap(self, segment_frames: int) -> int:
        """Frames that segments of a long video share where nobody says: whole latent frames, at least 4 frames.

        A short segment has fewer, at least one. Four is what the original takes.
        """
        frames_per_latent = -(-self.chunk_frames // self.chunk_latents)
        latents = -(-max(_OVERLAP - self.first_frames, 0) // frames_per_latent)
        return max(min(self.first_frames + latents * frames_per_latent, segment_frames - 1), 1)

    def describe_frames(self) -> str:
        """The valid frame counts in words."""
        image = "1 (an image), or " if self.image else ""
        if self.first_frames:
            return f"{image}{self.first_frames} + a multiple of {self.chunk_frames}, up to {self.max_frames}"
        if self.chunk_frames == 1:
            return f"any number up to {self.max_frames}"
        return f"{image}multiples of {self.chunk_frames} up to {self.max_frames}"

    def latent_shape(self, shape: PixelShape) -> LatentShape:
        """Latent size of a clip that follows the rule; one frame gives one latent frame."""
        self.check(shape)
        chunks = (shape.num_frames - self.first_frames) // self.chunk_frames
        frames = 1 if shape.num_frames == 1 else self.first_frames + chunks * self.chunk_latents
        return LatentShape(frames, shape.height // self.spatial_stride, shape.width // self.spatial_stride)

    def pixel_shape(self, shape: LatentShape) -> PixelShape:
        """Clip size that decodes from latents of this size: the inverse of `latent_shape`.

        One latent frame is an image where the model makes images.
        """
        image = self.image and shape.num_frames == 1
        chunks = (shape.num_frames - self.first_frames) // self.chunk_latents
        frames = 1 if image else self.first_frames + chunks * self.chunk_frames
        return PixelShape(frames, shape.height * self.spatial_stride, shape.width * self.spatial_stride)


_OVERLAP = 4
"""Frames that neighbouring segments of a long video share at least."""


def _neighbours(value: int, step: int, low: int, high: int) -> tuple[int, int]:
    """Multiples of `step` around `value`, kept between `low` and `high` (rounded down to a multiple)."""
    top = high // step * step
    below = min(max(value // step * step, low), top)
    above = min(max(-(-value // step) * step, low), top)
    return below, above
