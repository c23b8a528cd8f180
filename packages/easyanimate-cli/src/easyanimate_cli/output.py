"""Where clips are written: names from the prompt and the seed, checked before anything is made."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.clip import check_ending, ending
from easyanimate_core.errors import RequestError
from easyanimate_core.machine import check_disk_space, check_writable
from easyanimate_core.reservation import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_core.clip import ClipPlan
    from easyanimate_core.request import VideoRequest

FOLDER = Path("outputs")
SLUG_LENGTH = 40

SPARE_BYTES = 16 * 2**20
"""Disk space that must stay free beside the clips."""

_NAMED = 5
"""Files whose other name has a line of its own."""


def choose_output(model: str, asked: str | None, request: VideoRequest, number: int | None) -> Path:
    """The path that was asked for; else a name from the prompt and the seed, in the folder that was asked for.

    A folder is what is one, ends in a slash, or has no ending where several clips are made.

    Args:
        model: Key of the model.
        asked: A file or a folder.
        request: The clip.
        number: Added to the name of a file where several clips are made.

    Raises:
        RequestError: No file can be called so, or the ending does not fit.
    """
    suffix = ending(request)
    path = Path(asked) if asked is not None else FOLDER
    if asked is not None:
        check_name(path)
    if asked is None or is_folder(asked, several=number is not None):
        slug = re.sub(r"\W+", "-", request.prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
        path /= f"{'-'.join(filter(None, (model, slug, str(request.seed))))}{suffix}"
    else:
        if path.suffix:
            check_ending(path, request)
            suffix = path.suffix
        path = path.with_name((path.stem if number is None else f"{path.stem}-{number}") + suffix)
    check_name(path)
    return path


def is_folder(asked: str, *, several: bool = False) -> bool:
    """Whether an output is a folder: it is one, ends as one does, or has no ending where there are several clips."""
    path = Path(asked)
    ends = ("/", os.sep, *([os.altsep] if os.altsep else []))
    return asked.endswith(ends) or path.is_dir() or (several and not path.suffix)


def check_outputs(plans: Iterable[tuple[Path, ClipPlan]]) -> None:
    """Refuse folders that cannot be written and disks that are full, before anything is made."""
    plans = list(plans)
    for folder in {path.parent for path, _ in plans}:
        if folder.exists() and not folder.is_dir():
            raise RequestError("This is a file, not a folder.", received=folder, fix="choose another: --output")
        check_writable(folder)
        # A quarter of the raw pixels is more than H.264 or PNG need for anything but noise.
        requests = [plan.request for path, plan in plans if path.parent == folder]
        pixels = sum(request.num_frames * request.height * request.width for request in requests)
        check_disk_space(folder, pixels * 3 // 4 + SPARE_BYTES)


def describe_other_names(wanted: Sequence[Path], given: Sequence[Path]) -> list[str]:
    """A line for every file that cannot have the name that was wanted; the rest is counted."""
    others = [(one, other) for one, other in zip(wanted, given, strict=True) if one != other]
    lines = [
        f"{one} is taken, so {other.name} is written; --overwrite replaces a file." for one, other in others[:_NAMED]
    ]
    return [*lines, *([f"So with {len(others) - _NAMED} more names."] if len(others) > _NAMED else [])]
