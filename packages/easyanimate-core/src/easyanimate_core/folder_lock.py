"""A folder that one run at a time writes: made when missing, locked, and gone again where nothing was written."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.atomic import removing_empty
from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Generator

    from filelock import BaseFileLock

LOCK_NAME = ".lock"
"""Name of the file in the folder that is locked; it goes with the run."""


@contextmanager
def lock_folder(path: Path) -> Generator[None]:
    """Keep other runs out of a folder while the block runs.

    Folders that were made for it and are still empty when the block ends, in whatever way, go again.

    Raises:
        MediaError: Another run is at work in it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK_NAME, timeout=0)
    with removing_empty(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise MediaError(
                "Another run is at work in this folder.",
                received=path,
                expected="a folder that no other run writes",
                fix="wait until it ends or stop it, or choose another folder",
            ) from error
        except OSError as error:
            raise explain_unwritable(path, error) from error
        try:
            yield
        finally:
            _release(lock)


def explain_unwritable(path: Path, error: OSError) -> MediaError:
    """The error of a folder that cannot be written."""
    if error.errno == errno.EEXIST:
        return MediaError("This is a file, not a folder.", received=path, fix="choose another folder with --out")
    return MediaError(
        f"The folder cannot be written: {error.strerror or error}.",
        received=error.filename or path,
        expected="a folder that can be written",
        fix="choose another with --out",
    )


def _release(lock: BaseFileLock) -> None:
    """Remove the file of a lock and let others have it: POSIX removes what is open, Windows what is closed."""
    if os.name == "posix":
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
    with suppress(OSError):
        if os.name != "posix":
            Path(lock.lock_file).unlink(missing_ok=True)
