"""What holds for every file of pictures that is read or written: plain files only, limits, one kind of error."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".wmv", ".asf", ".flv"}
    | {".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".ogv", ".gif"}
)
"""File endings that are read as a video; everything else is taken for an image, unless it turns out to move."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})
"""File endings that are taken for images where a folder is searched; others are read as images, too, when named."""

MAX_SECONDS = 600.0
"""How long reading one file may take."""

MAX_CLIP_BYTES = 3 * 2**30
"""The most memory that the pixels of a clip may take."""

_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"[playlist]")
"""How files begin that FFmpeg would follow to other files."""

_HEAD = 512


class Deadline:
    """Raises `MediaError` when a file has been read for too long.

    Args:
        path: The file.
        seconds: How long it may take, from now.
    """

    def __init__(self, path: Path, seconds: float = MAX_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """To be called between two packets or frames."""
        if time.monotonic() > self._end:
            raise MediaError(
                "Reading the file takes too long.",
                received=f"{self._path}: over {self._seconds:g} seconds",
                fix="cut it to the part that is wanted, or encode it anew",
            )


def check_memory(path: Path, num_bytes: int) -> None:
    """Refuse a clip whose pixels take more than `MAX_CLIP_BYTES`."""
    if num_bytes > MAX_CLIP_BYTES:
        raise MediaError(
            "The clip is too large to be read at once.",
            received=f"{path}: over {num_bytes / 2**30:.1f} GiB of pixels",
            expected=f"at most {MAX_CLIP_BYTES / 2**30:g} GiB",
            fix="take fewer frames, or make the video smaller",
        )


def check_file(path: Path) -> None:
    """Refuse what is not there, and what is no plain file: a folder, a device, a pipe.

    Raises:
        MediaError: Saying which.
    """
    expected = "a video or image file"
    try:
        plain, there = path.is_file(), path.exists()
    except (OSError, ValueError) as error:
        raise MediaError(f"The file cannot be read: {reason(error)}", received=path, expected=expected) from error
    if plain:
        return
    if not there:
        raise MediaError("There is no such file.", received=path, expected=expected)
    what = "a folder" if path.is_dir() else "a device, a pipe or a socket"
    raise MediaError(f"This is no file but {what}.", received=path, expected=expected)


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Check a file before it is read, and turn what goes wrong within into `MediaError`."""
    import struct

    from av.error import FFmpegError

    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_PLAYLISTS):
            raise MediaError("The file is a list of other files.", received=path, expected="a video or image file")
        yield
    except (
        FFmpegError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise MediaError(
            f"The file cannot be read: {reason(error)}", received=path, expected="a video or image that is whole"
        ) from error
    except MemoryError as error:
        raise MediaError("The file is too large for this machine's memory.", received=path) from error


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """Give a temporary path that becomes `path`; turn what goes wrong into `MediaError`."""
    from av.error import FFmpegError

    try:
        with atomic_path(path) as part:
            yield part
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"The file cannot be written: {reason(error)}",
            received=path,
            fix="choose a folder that can be written and has space: --output",
        ) from error


def reason(error: Exception) -> str:
    """What went wrong, without the name of the library's function."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
