"""Reads one row of a dataset: its size, or the frames that training takes from it.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.image import read_image, read_image_size
from easyanimate_core.media import VIDEO_SUFFIXES

from easyanimate_data.frames import read_frames
from easyanimate_data.timeline import read_opening, read_timeline
from easyanimate_data.training.bucket import cover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_data.frames import Frames, Reader
    from easyanimate_data.timeline import Timeline
    from easyanimate_data.training.entry import Entry


class Facts(NamedTuple):
    """What the beginning of a file says: height and width as shown, in pixels; a video's frames per second."""

    height: int
    width: int
    fps: float | None = None


def find_facts(entry: Entry) -> Facts:
    """Look at the beginning of the file.

    Raises:
        MediaError: When the file cannot be read, or a video breaks off.
    """
    if entry.kind == "video":
        look, fps = read_opening(entry.path)
        return Facts(look.height, look.width, fps)
    try:
        return Facts(*read_image_size(entry.path))
    except MediaError as error:
        if entry.path.suffix.lower() in VIDEO_SUFFIXES:
            fix = 'a row of a video needs the type "video"'
            raise MediaError(error.message, received=error.received, expected=error.expected, fix=fix) from error
        raise


def read_covering(
    path: Path,
    size: tuple[int, int],
    choose: Callable[[Timeline], Sequence[int]],
    *,
    timeline: Timeline | None = None,
    reader: Reader = "pyav",
) -> Frames:
    """Read frames of a video, each scaled once so that it just covers a size, and cut in the middle.

    Args:
        path: The video.
        size: Height and width.
        choose: Gives the indices of the frames for the times of the video.
        timeline: What `read_timeline` gave, when it is known already.
        reader: "pyav", or "decord" where it is installed.

    Returns:
        uint8 [T, H, W, 3].

    Raises:
        MediaError: When the file cannot be read, or `choose` does so.
    """
    timeline = timeline or read_timeline(path)
    return read_frames(
        path,
        choose(timeline),
        timeline=timeline,
        reader=reader,
        transform=lambda frame: np.ascontiguousarray(cover(frame, *size)),
    )


def read_still(path: Path, size: tuple[int, int]) -> Frames:
    """Read an image as a clip of one frame that covers a size: uint8 [1, H, W, 3].

    Raises:
        MediaError: When the file cannot be read.
    """
    return cover(read_image(path), *size)[None]
