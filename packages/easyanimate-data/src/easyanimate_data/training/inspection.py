"""Opens every file of a dataset once, before anything is computed: what cannot be read is known, and so are sizes."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from easyanimate_core.errors import MediaError

from easyanimate_data.training.reading import Facts, find_facts
from easyanimate_data.training.replacement import TimedReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_data.training.entry import Entry

_LOG = logging.getLogger("easyanimate.data")

_PART = 2048
"""Files between two moments at which progress may be logged."""

_TELL_SECONDS = 10.0


def inspect_entries(entries: Sequence[Entry], seconds: float) -> tuple[list[Entry], dict[int, str]]:
    """Find the entries whose files can be opened.

    Only the beginning is read: of a video its index and first frame, of an image its header.

    Args:
        entries: Some rows of a list. Several may have one file, which is opened once.
        seconds: Time limit for opening a file.

    Returns:
        The entries that can be used, with height, width and, of videos, frame rate; and what is wrong with the others,
        by row.
    """
    files = {(entry.file, entry.kind): entry for entry in entries}
    waiting = list(files.values())
    found: dict[object, Facts | str] = {}
    samples = TimedReader(seconds, "row {}".format)

    def look(entry: Entry) -> Facts | str:
        try:
            return samples.read(lambda _: find_facts(entry), entry.row)
        except MediaError as error:
            return _describe(entry, error)

    told = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(waiting), _PART):
            part = waiting[start : start + _PART]
            found.update(zip(((entry.file, entry.kind) for entry in part), pool.map(look, part), strict=True))
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                _LOG.info("%s of %s files of the dataset are looked at", f"{len(found):,}", f"{len(waiting):,}")
    good: list[Entry] = []
    mistakes: dict[int, str] = {}
    for entry in entries:
        facts = found[entry.file, entry.kind]
        if isinstance(facts, str):
            mistakes[entry.row] = facts
            continue
        sized = entry.height and entry.width
        height, width = (entry.height, entry.width) if sized else (facts.height, facts.width)
        good.append(entry._replace(height=height, width=width, fps=entry.fps or facts.fps))
    return good, mistakes


def _describe(entry: Entry, error: MediaError) -> str:
    """A line that names the file once."""
    details = str(error.received or "").removeprefix(entry.file).lstrip(": ")
    parts = [error.message, f"({details})" if details else "", error.fix or ""]
    return f"{entry.file}: {' '.join(' '.join(parts).split())}"
