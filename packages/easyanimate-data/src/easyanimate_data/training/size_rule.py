"""Which size and how many frames a batch has: fixed, by aspect ratio, random, or what a budget of pixels allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from easyanimate_core.errors import RequestError
from easyanimate_core.shapes import PixelShape

from easyanimate_data.training.bucket import SIZE_MULTIPLE, draw_ratio, keep_frames, scale_bucket

if TYPE_CHECKING:
    import numpy as np

    from easyanimate_data.training.entry import Kind

SIZE_STEP = 128
"""Pixels between the sizes that a batch may have."""

WHOLE_SHARE = 0.9
"""Share of the batches that keep all their frames where lengths are random."""


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """How the size of a batch is chosen. A size of s pixels means about the area of a square with sides of s.

    Args:
        video_size: In pixels.
        image_size: In pixels.
        num_frames: Frames of a clip, at most.
        chunk_frames: The VAE's chunk: frame counts are multiples of it, or 1.
        buckets: Keep the aspect ratio, as near as the table has it; else clips are cropped to squares.
        random_ratio: Crop each batch to a random ratio of the table.
        random_size: Give each batch one of `sizes` that is not above the size of its smallest clip.
        random_frames: Shorten a tenth of the batches of clips.
        token_size: The budget: a batch of size s has at most `num_frames * token_size**2 / s**2` frames.
    """

    video_size: int = 512
    image_size: int = 512
    num_frames: int = 144
    chunk_frames: int = 8
    buckets: bool = True
    random_ratio: bool = False
    random_size: bool = False
    random_frames: bool = False
    token_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no model has."""
        for name, least in (("video_size", SIZE_MULTIPLE), ("image_size", SIZE_MULTIPLE), ("token_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RequestError("A training size is too small.", received=f"{name} {value}", expected=f">= {least}")
        if self.num_frames < 1 or self.chunk_frames < 1:
            raise RequestError(
                "A clip needs frames.",
                received=f"num_frames {self.num_frames}, chunk_frames {self.chunk_frames}",
                expected=">= 1",
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes from that of videos to that of images, in steps of 128 pixels."""
        low, high = sorted((self.video_size, self.image_size))
        return tuple(sorted({*range(low, high + 1, SIZE_STEP), high}))

    def limit_frames(self, size: int) -> int:
        """The most frames of a clip of this size."""
        budget = self.num_frames if self.token_size is None else self.num_frames * self.token_size**2 // size**2
        return keep_frames(min(self.num_frames, budget), self.chunk_frames, self.num_frames)

    def draw(self, kind: Kind, ratio: float, smallest: int, rng: np.random.Generator) -> PixelShape:
        """The shape of a batch.

        Args:
            kind: Of all its items.
            ratio: Of all its items, from the table of aspect ratios.
            smallest: Size of its smallest item, in pixels; counts where the size is random.
            rng: Decides what is random.
        """
        size = self.video_size if kind == "video" else self.image_size
        if self.random_size:
            size = int(rng.choice([size for size in self.sizes if size <= max(smallest, self.sizes[0])]))
        height, width = scale_bucket(draw_ratio(rng) if self.random_ratio else ratio, size)
        num_frames = self.limit_frames(size) if kind == "video" else 1
        shorter = range(self.chunk_frames, num_frames, self.chunk_frames)
        if self.random_frames and shorter and rng.random() >= WHOLE_SHARE:
            num_frames = int(rng.choice(shorter))
        return PixelShape(num_frames, height, width)
