"""Sizes that clips of one batch share, by the table of aspect ratios, and how a frame is brought to a size.

Axes: H height, W width, 3 red, green, blue. Ratios are height over width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from easyanimate_core.aspect_ratio import ASPECT_RATIOS
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easyanimate_data.frames import Frames

_PART = 65536
"""Ratios that are looked up at a time."""

CROP_WEIGHTS = {
    0.42: 1, 0.5: 2, 0.57: 4, 0.68: 4, 0.78: 4, 0.88: 4, 0.94: 8, 1.0: 8, 1.07: 8, 1.13: 4, 1.29: 4, 1.46: 4, 1.75: 4,
    2.0: 2, 2.4: 1,
}  # fmt: skip
"""How often each ratio is drawn when batches are cropped to a random one."""


class Fit(NamedTuple):
    """How a frame covers a size: it is scaled to `scaled`, and what is beyond `top` and `left` is cut off."""

    scaled: tuple[int, int]
    top: int
    left: int


def find_ratios(sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The ratios of the table, float [N], nearest to those of frames with these heights and widths, [N, 2].

    Of two ratios that are equally near, it is the smaller one.
    """
    table = np.array(list(ASPECT_RATIOS))
    found, inverse = np.unique(sizes[:, 0] / sizes[:, 1], return_inverse=True)
    nearest = [np.abs(part[:, None] - table).argmin(axis=1) for part in np.array_split(found, len(found) // _PART + 1)]
    return table[np.concatenate(nearest)][inverse]


def draw_ratio(rng: np.random.Generator) -> float:
    """A ratio for a random crop."""
    weights = np.array(list(CROP_WEIGHTS.values()))
    return float(rng.choice(list(CROP_WEIGHTS), p=weights / weights.sum()))


def keep_frames(num_frames: int, chunk_frames: int, max_frames: int) -> int:
    """How many frames are kept: a multiple of the VAE's chunk, or 1.

    As in the original the limit is `max_frames` and one chunk more.
    """
    return max(min(num_frames, max_frames + chunk_frames) // chunk_frames * chunk_frames, 1)


def fit_size(height: int, width: int, target: tuple[int, int]) -> Fit:
    """How a frame of this size just covers the target, whose middle is kept."""
    target_height, target_width = target
    if target_height * width >= target_width * height:
        scaled = target_height, width * target_height // height
    else:
        scaled = height * target_width // width, target_width
    return Fit(scaled, round((scaled[0] - target_height) / 2), round((scaled[1] - target_width) / 2))


def cover(frame: Frames, height: int, width: int) -> Frames:
    """Scale a frame [H, W, 3] so that it just covers the size, and cut the middle out."""
    if frame.shape[:2] == (height, width):
        return frame
    (scaled_height, scaled_width), top, left = fit_size(frame.shape[0], frame.shape[1], (height, width))
    scaled = Image.fromarray(frame).resize((scaled_width, scaled_height), Image.Resampling.BICUBIC)
    return np.asarray(scaled)[top : top + height, left : left + width]
