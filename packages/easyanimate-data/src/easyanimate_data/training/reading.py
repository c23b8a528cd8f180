"""Reads one row of a dataset: its size, or the frames that training takes from it.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.video import read_image
from PIL import ExifTags, Image

from easyanimate_data.frames import read_frames, read_size, read_timeline
from easyanimate_data.training.bucket import cover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easyanimate_data.frames import Frames, Reader
    from easyanimate_data.training.entry import Entry

TURNED = range(5, 9)
"""Values of the EXIF orientation that exchange height and width."""


def find_size(entry: Entry) -> tuple[int, int]:
    """Height and width in pixels, upright: what the row says, or the file.

    Raises:
        MediaError: When the file cannot be read.
    """
    if entry.height and entry.width:
        return entry.height, entry.width
    if entry.kind == "video":
        return read_size(entry.path)
    try:
        with Image.open(entry.path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"The image cannot be read: {error}", received=entry.path) from error


def read_covering(
    entry: Entry, size: tuple[int, int], choose: Callable[[int], Sequence[int]], reader: Reader = "pyav"
) -> Frames:
    """Read frames of an entry, each scaled once so that it just covers a size, and cut in the middle.

    Args:
        entry: A video, or an image, which has one frame.
        size: Height and width.
        choose: Gives the places of the frames for the number of frames of a video.
        reader: Of videos.

    Returns:
        uint8 [T, H, W, 3].

    Raises:
        MediaError: When the file cannot be read, or `choose` does so.
    """
    if entry.kind == "image":
        return cover(read_image(entry.path), *size)[None]
    timeline = read_timeline(entry.path)
    try:
        places = choose(len(timeline))
    except MediaError as error:
        received = f"{entry.path}: {error.received}"
        raise MediaError(error.message, received=received, expected=error.expected, fix=error.fix) from error
    return read_frames(
        entry.path,
        places,
        timeline=timeline,
        reader=reader,
        transform=lambda frame: np.ascontiguousarray(cover(frame, *size)),
    )
