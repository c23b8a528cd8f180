"""Files and folders that are either whole or not there: written under a temporary name, renamed at the end."""

from __future__ import annotations

import os
import shutil
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_PART_STEM = 40
"""Characters of a name that its temporary file is called by; each has up to four bytes of the 255 of a name."""


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name `path` when the block ends without an error.

    The folder is made when missing. After an error (Ctrl-C included) the temporary file is gone and an older `path`
    is as it was.

    Raises:
        OSError: When the folder cannot be made or the file cannot take its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because writers choose their format by it; the process id keeps two runs apart. A long name is
    # cut, so that this one is no longer than file systems allow; its checksum keeps it apart from others like it.
    stem = path.stem
    if len(stem) > _PART_STEM:
        stem = f"{stem[:_PART_STEM]}.{zlib.crc32(os.fsencode(path.name)):08x}"
    part = path.with_name(f".{stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Give an empty folder beside `path` to fill; it takes the name `path` when the block ends without an error.

    After an error (Ctrl-C included) the temporary folder is gone and an older `path` is as it was. What a killed
    process left behind goes away the next time. One process at a time may write the same folder.

    Raises:
        OSError: When the folder cannot be made or cannot take its name.
    """
    part, old = part_folder(path), path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():  # killed between the two renames below
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        # No system replaces a folder that is not empty, so the older one steps aside first.
        if path.exists():
            path.rename(old)
        part.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def removing_empty(folder: Path) -> Generator[None]:
    """Let the block make a folder: of it and those above it, what was not there before and ends empty goes again."""
    try:
        made = [place for place in (folder, *folder.parents) if not place.exists()]
    except (OSError, ValueError):  # a name that no folder can have
        made = []
    try:
        yield
    finally:
        for place in made:
            with suppress(OSError):  # it is not empty, or not there
                place.rmdir()


def part_folder(path: Path) -> Path:
    """The folder that `atomic_folder` gives, for further processes that fill it together with that one."""
    return path.with_name(f".{path.name}.part")
