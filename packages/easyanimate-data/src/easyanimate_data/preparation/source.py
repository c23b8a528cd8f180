"""Finds the raw videos and images below a folder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from easyanimate_core.errors import MediaError
from easyanimate_core.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

SOURCE_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".flv", ".mov")
SOURCE_SUFFIXES = (*SOURCE_SUFFIXES, *sorted(VIDEO_SUFFIXES - {*SOURCE_SUFFIXES, ".gif"}))
"""Endings of files that are taken for videos: the original's, and all others that are read as one."""

PICTURE_SUFFIXES = (*sorted(IMAGE_SUFFIXES), ".gif")
"""Endings of files that are taken for images; of a GIF it is the first picture, as in the original."""


@dataclass(frozen=True)
class Sources:
    """What lies below a folder.

    Args:
        paths: What was looked for, relative to the folder, posix, in natural order.
        others: How many files have other endings, by ending.
    """

    paths: tuple[str, ...]
    others: Counter[str]


def is_image(source: str) -> bool:
    """Whether a source is an image, by its ending."""
    return source.lower().endswith(PICTURE_SUFFIXES)


def list_sources(
    folder: Path, *, leave_out: Path | None = None, suffixes: tuple[str, ...] = SOURCE_SUFFIXES
) -> Sources:
    r"""List the files with these endings below a folder; links to files and folders are followed, each folder once.

    Hidden files and folders are passed over. What is no UTF-8 in a name is written as `\xff`: such a file is listed,
    but not found again under that name.

    Args:
        folder: Where to look. It is never written to.
        leave_out: A folder below it that is not looked into: the output.
        suffixes: Endings with their dot, in small letters.

    Raises:
        MediaError: When there is no such folder, or no such file in it.
    """
    from natsort import natsorted

    if not folder.is_dir():
        raise MediaError("There is no such folder.", received=folder, expected="a folder with videos")
    found: list[str] = []
    others: Counter[str] = Counter()
    seen: set[str] = {os.path.realpath(leave_out)} if leave_out else set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()  # a link back to a folder above
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if path.suffix.lower() in suffixes and not name.startswith("."):
                found.append(_printable(path.relative_to(folder).as_posix()))
            else:
                others[_printable(path.suffix.lower() or name)] += 1
    if not found:
        listed = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(8))
        raise MediaError(
            "No videos were found.",
            received=f"{folder}: {listed or 'no files'}",
            expected=f"files that end in {' '.join(suffixes)}",
            fix="other endings: --set 'split.endings=[.ending]'" if others else None,
        )
    return Sources(tuple(natsorted(sorted(found))), others)  # sorted first: 1.mp4 and 01.mp4 are naturally equal


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")
