"""Which size and how many frames a batch has: fixed, by aspect ratio, random, or what a budget of pixels allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from easyanimate_core.aspect_ratio import scale_bucket
from easyanimate_core.errors import RequestError
from easyanimate_core.shapes import PixelShape

from easyanimate_data.training.bucket import draw_ratio, keep_frames
from easyanimate_data.training.mask import MaskRule

if TYPE_CHECKING:
    import numpy as np
    from easyanimate_core.dataset import BatchRule

    from easyanimate_data.training.entry import Kind

SIZE_STEP = 128
"""Pixels between the sizes that a batch may have."""

WHOLE_SHARE = 0.9
"""Share of the batches that keep all their frames where lengths are random."""


def check_rule(rule: BatchRule) -> None:
    """Refuse what no batch of a training set can be made of.

    Raises:
        RequestError: Saying what is wrong.
    """
    if rule.video_repeat < 1 and not rule.compat:
        raise RequestError(
            "data.video_repeat must be at least 1.",
            received=rule.video_repeat,
            expected="a whole number, at least 1",
            fix="compat with 0 leaves the videos out, as the original does",
        )
    if rule.mask_rule is not None and rule.mask_rule not in get_args(MaskRule):
        raise RequestError(
            "There is no such mask_rule.", received=rule.mask_rule, expected=", ".join(get_args(MaskRule))
        )


def list_sizes(rule: BatchRule) -> tuple[int, ...]:
    """Sizes from that of videos to that of images, in steps of 128 pixels."""
    low, high = sorted((rule.video_size, rule.image_size))
    return tuple(sorted({*range(low, high + 1, SIZE_STEP), high}))


def limit_frames(rule: BatchRule, size: int) -> int:
    """The most frames of a clip of this size, for the VAE in chunks."""
    budget = rule.num_frames if rule.token_size is None else rule.num_frames * rule.token_size**2 // size**2
    return keep_frames(min(rule.num_frames, budget), rule.chunk_frames or 1, rule.num_frames)


def draw_shape(rule: BatchRule, kind: Kind, ratio: float, smallest: int, rng: np.random.Generator) -> PixelShape:
    """The shape of a batch.

    Args:
        rule: The sizes.
        kind: Of all its items.
        ratio: Of all its items, from the table of aspect ratios.
        smallest: Size of its smallest item, in pixels; counts where the size is random.
        rng: Decides what is random.
    """
    size = rule.video_size if kind == "video" else rule.image_size
    if rule.random_size:
        sizes = list_sizes(rule)
        size = int(rng.choice([size for size in sizes if size <= max(smallest, sizes[0])]))
    height, width = scale_bucket(draw_ratio(rng) if rule.random_ratio else ratio, size)
    num_frames = limit_frames(rule, size) if kind == "video" else 1
    chunk = rule.chunk_frames or 1
    shorter = range(chunk, num_frames, chunk)
    if rule.random_frames and shorter and rng.random() >= WHOLE_SHARE:
        num_frames = int(rng.choice(shorter))
    return PixelShape(num_frames, height, width)
