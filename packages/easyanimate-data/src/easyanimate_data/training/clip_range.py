"""Which frames of a video make a training clip: evenly spaced ones from a random start, away from both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from numpy.random import Generator

DROP_START = 0.1
DROP_END = 0.9
"""Shares of a video between which clips are taken."""


@dataclass(frozen=True)
class ClipRange:
    """Where a clip may begin.

    Args:
        num_frames: Frames of the clip.
        length: Frames of the video from the clip's first to its last.
        first: The first frame at which it may begin.
        last: The last such frame.
    """

    num_frames: int
    length: int
    first: int
    last: int

    def draw(self, rng: Generator) -> list[int]:
        """Indices of the frames, rising, for a random start."""
        return self.indices(int(rng.integers(self.first, self.last + 1)))

    def indices(self, start: int) -> list[int]:
        """Indices of the frames for this start, evenly spaced."""
        return [int(index) for index in np.linspace(start, start + self.length - 1, self.num_frames)]


def find_range(total: int, num_frames: int, stride: int = 1) -> ClipRange:
    """The range for a video of `total` frames.

    It is the original's, but where that leaves no room (the original then draws another video) the clip begins as late
    as it can.

    Args:
        total: Frames of the video.
        num_frames: Frames wanted; a short video gives at most 0.8 of its own.
        stride: Distance between the frames, smaller where the video is short.

    Raises:
        MediaError: When the video is too short to give a single frame.
    """
    num_frames = min(num_frames, int(total * (DROP_END - DROP_START)))
    usable = int(DROP_END * total)
    if num_frames < 1:
        raise MediaError("A video is too short for training.", received=f"{total} frames", expected="at least 2 frames")
    length = min(usable, (num_frames - 1) * stride + 1)
    last = usable - length
    return ClipRange(num_frames, length, min(int(DROP_START * usable), last), last)
