"""Draws masks for training on inpainting: which frames, or parts of them, a model has to make.

Axes: T frames, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from easyanimate_data.frames import Frames

MaskKind = Literal["block", "all", "suffix", "middle", "block-in-time"]
MaskRule = Literal["v4", "v3"]

MASK_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)
IMAGE_KINDS = MASK_KINDS[:2]

MAX_KEPT = 4
"""The most frames that are kept at either end."""

CLIP_WEIGHTS: dict[MaskRule, tuple[float, ...]] = {"v4": (0.05, 0.3, 0.3, 0.3, 0.05), "v3": (0.2,) * 5}
IMAGE_WEIGHTS: dict[MaskRule, tuple[float, ...]] = {"v4": (0.2, 0.8), "v3": (0.5, 0.5)}


def draw_kind(num_frames: int, rng: np.random.Generator, rule: MaskRule = "v4") -> MaskKind:
    """The kind of a mask: V4 has mostly whole, suffix and middle masks, V3 all kinds alike; images have two kinds."""
    if num_frames == 1:
        return IMAGE_KINDS[int(rng.choice(len(IMAGE_KINDS), p=IMAGE_WEIGHTS[rule]))]
    return MASK_KINDS[int(rng.choice(len(MASK_KINDS), p=CLIP_WEIGHTS[rule]))]


def draw_mask(kind: MaskKind, shape: tuple[int, int, int], rng: np.random.Generator) -> Frames:
    """A mask of this kind.

    "block": one rectangle in all frames. "all": everything. "suffix": all after the first 1 to 4 frames. "middle": all
    but the first and the last 1 to 4 frames. "block-in-time": one rectangle in some consecutive frames. The sides of a
    rectangle are a quarter to three quarters of the frame's. Something is always left to be made.

    Args:
        kind: One of `MASK_KINDS`.
        shape: T, H, W; a single frame only has "block" and "all".
        rng: Where the rectangle lies and how many frames are kept.

    Returns:
        uint8 [T, H, W]: 255 is to be made, 0 is given.
    """
    num_frames, height, width = shape
    mask = np.zeros(shape, np.uint8)
    begin, end = 0, num_frames
    rows = columns = slice(None)
    if kind == "suffix":
        begin = _draw_kept(num_frames - 1, rng)
    elif kind == "middle":
        begin = _draw_kept((num_frames - 1) // 2, rng)
        end -= _draw_kept((num_frames - 1) // 2, rng)
    elif kind in ("block", "block-in-time"):
        rows, columns = _draw_side(height, rng), _draw_side(width, rng)
        if kind == "block-in-time":
            begin = int(rng.integers(num_frames))
            end = int(rng.integers(begin + 1, num_frames + 1))
    mask[begin:end, rows, columns] = 255
    return mask


def _draw_kept(most: int, rng: np.random.Generator) -> int:
    """Frames kept at one end."""
    return int(rng.integers(1, min(most, MAX_KEPT) + 1)) if most else 0


def _draw_side(length: int, rng: np.random.Generator) -> slice:
    side = int(rng.integers(max(length // 4, 1), max(length * 3 // 4, 1) + 1))
    begin = int(rng.integers(length - side + 1))
    return slice(begin, begin + side)
