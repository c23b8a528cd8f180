"""Where clips are written: names from the prompt and the seed, never over an existing file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.clip import check_ending, ending
from easyanimate_core.machine import check_disk_space, check_writable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core.clip import ClipPlan
    from easyanimate_core.request import VideoRequest

FOLDER = Path("outputs")
SLUG_LENGTH = 40

SPARE_BYTES = 16 * 2**20
"""Disk space that must stay free beside the clips."""


def choose_output(model: str, asked: Path | None, request: VideoRequest, number: int | None) -> Path:
    """The path that was asked for; else a name from the prompt and the seed, in the folder that was asked for.

    Args:
        model: Key of the model.
        asked: A file or a folder.
        request: The clip.
        number: Added to the name of a file where several clips are made.

    Raises:
        RequestError: The name has an ending that does not fit.
    """
    suffix = ending(request)
    if asked is None or asked.is_dir():
        slug = re.sub(r"\W+", "-", request.prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
        return (asked or FOLDER) / f"{'-'.join(filter(None, (model, slug, str(request.seed))))}{suffix}"
    if asked.suffix:
        check_ending(asked, request)
    return asked.with_name((asked.stem if number is None else f"{asked.stem}-{number}") + suffix)


def free_path(path: Path, taken: Iterable[Path] = ()) -> Path:
    """`path`, or with the next free number when there is a file already."""
    number, free = 1, path
    while free in taken or free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def check_outputs(plans: Mapping[Path, ClipPlan]) -> None:
    """Refuse folders that cannot be written and disks that are full, before anything is made."""
    for folder in {path.parent for path in plans}:
        check_writable(folder)
        # A quarter of the raw pixels is more than H.264 or PNG need for anything but noise.
        requests = [plan.request for path, plan in plans.items() if path.parent == folder]
        pixels = sum(request.num_frames * request.height * request.width for request in requests)
        check_disk_space(folder, pixels * 3 // 4 + SPARE_BYTES)
