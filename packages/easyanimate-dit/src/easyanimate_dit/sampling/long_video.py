"""Long videos in overlapping parts: where the parts lie, and how they are joined.

Axes: T frames, H height, W width; pixels are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easyanimate_core.shapes import ShapeRule


@dataclass(frozen=True)
class Segment:
    """A part of a long video.

    Args:
        start: Its first frame in the whole.
        num_frames: Its length.
    """

    start: int
    num_frames: int


def plan_segments(num_frames: int, segment_frames: int, overlap_frames: int, rule: ShapeRule) -> Iterator[Segment]:
    """The parts of a video, in order: each starts `overlap_frames` before the end of the one before.

    The last one is as short as the model can make it, so that it may reach past the end by less than a chunk.

    Args:
        num_frames: Of the whole.
        segment_frames: Of a part, a valid frame count.
        overlap_frames: That two neighbours share, fewer than `segment_frames`.
        rule: Which frame counts are valid.
    """
    start = 0
    while start + segment_frames < num_frames:
        yield Segment(start, segment_frames)
        start += segment_frames - overlap_frames
    yield Segment(start, min(segment_frames, rule.near_frames(num_frames - start)[1]))


def join_segments(whole: np.ndarray, segment: np.ndarray, overlap_frames: int) -> np.ndarray:
    """Append a part to what is there; the frames that both have pass linearly from the old ones to the new ones.

    Args:
        whole: uint8 [T, H, W, 3].
        segment: uint8 [S, H, W, 3], which starts `overlap_frames` before the end of `whole`.
        overlap_frames: Above 0.

    Source: the weights 0, 1/n, 2/n ... of the new frames are those of EasyAnimate's user interface.
    """
    weight = (np.arange(overlap_frames, dtype=np.float32) / overlap_frames)[:, None, None, None]
    old, new = whole[-overlap_frames:].astype(np.float32), segment[:overlap_frames].astype(np.float32)
    faded = np.rint(old + (new - old) * weight).astype(np.uint8)
    return np.concatenate([whole[:-overlap_frames], faded, segment[overlap_frames:]])
