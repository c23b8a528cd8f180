"""Files that are either whole or not there: written under a temporary name, renamed at the end."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name `path` when the block ends without an error.

    The folder is made when missing. After an error (Ctrl-C included) the temporary file is gone and an older `path`
    is as it was.

    Raises:
        OSError: When the folder cannot be made or the file cannot take its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because writers choose their format by it; the process id keeps two runs apart.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
