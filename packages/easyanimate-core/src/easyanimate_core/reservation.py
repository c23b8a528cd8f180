"""Names of files that are still to be made: none that exists is given, and no two runs get the same one."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from easyanimate_core.atomic import removing_empty
from easyanimate_core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence
    from pathlib import Path

NAME_BYTES = 255
"""Longest name of a file or folder; almost every file system has this limit."""

_WAIT_SECONDS = 30.0
"""Time that another run may take to choose its names, which takes milliseconds."""

_GATE = ".ea-names.lock"


@contextmanager
def reserve(wanted: Sequence[Path], *, overwrite: bool = False) -> Generator[list[Path]]:
    """Reserve a name for each path until the block ends: the path itself, or with the next free number.

    Folders are made when missing. Nothing is left behind but what the block has written: no lock, no note, no empty
    folder. What a killed run had reserved is free again.

    Args:
        wanted: Paths of files; see `check_name`.
        overwrite: Whether a name is free that a file has; one that another run has reserved never is.

    Raises:
        OSError: A folder cannot be made or written.
    """
    paths: dict[int, Path] = {}
    with ExitStack() as stack:
        for folder in dict.fromkeys(path.parent for path in wanted):
            indices = [index for index, path in enumerate(wanted) if path.parent == folder]
            stack.enter_context(removing_empty(folder))
            names = stack.enter_context(
                _reserve_in(folder, [wanted[index].name for index in indices], overwrite=overwrite)
            )
            paths |= {index: folder / name for index, name in zip(indices, names, strict=True)}
        yield [paths[index] for index in range(len(wanted))]


def find_free(path: Path, taken: Collection[str] = (), *, overwrite: bool = False) -> Path:
    """`path`, or with the next free number where something has its name.

    Args:
        path: A path.
        taken: Names in lower case that are not free either.
        overwrite: Whether the name of a file is free.
    """
    number, free = 1, path
    while free.name.casefold() in taken or (os.path.lexists(free) and not (overwrite and free.is_file())):
        number += 1
        free = _add_number(path, number)
    return free


def check_name(path: Path) -> None:
    """Raise `RequestError` unless a file may be called so: length, characters, links, folders above it."""
    text = os.fspath(path)
    if "\0" in text or not (path.name or path.is_dir()):
        raise RequestError("This is no name of a file.", received=repr(text), expected="a path without NUL")
    too_long = [part for part in path.parts if len(_encode(part)) > NAME_BYTES]
    if too_long:
        raise RequestError(
            "A name is too long.",
            received=f"{len(_encode(too_long[0]))} bytes: {too_long[0][:40]}...",
            expected=f"at most {NAME_BYTES} bytes between slashes",
        )
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        blocking = next((place for place in path.absolute().parents if os.path.lexists(place)), path)
        if not blocking.is_dir():
            raise RequestError(
                "A file is where a folder has to be.", received=blocking, fix="choose another folder: --output"
            ) from None
        return
    except (OSError, ValueError) as error:
        raise RequestError(
            f"Nothing can be written there: {getattr(error, 'strerror', None) or error}.",
            received=text[:200],
            fix="choose another name: --output",
        ) from error
    if not (path.is_file() or path.is_dir()):
        raise RequestError(
            "This is a device, not a file.", received=f"{path}, mode {mode:o}", fix="choose another name: --output"
        )


@contextmanager
def _reserve_in(folder: Path, wanted: Sequence[str], *, overwrite: bool) -> Generator[Sequence[str]]:
    """Reserve names in one folder: noted beside them, as long as the lock of the note is held."""
    from filelock import FileLock

    note = folder / f".ea-{uuid4().hex[:12]}.names"
    gate, own = FileLock(folder / _GATE, timeout=_WAIT_SECONDS), FileLock(note.with_suffix(".lock"), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with gate:
            own.acquire()
            taken = _list_reserved(folder)
            names: list[str] = []
            for name in wanted:
                free = find_free(folder / name, taken, overwrite=overwrite).name
                taken.add(free.casefold())
                names.append(free)
            note.write_text(json.dumps(names), encoding="utf-8")
            _remove(folder / _GATE)
        yield names
    finally:
        _remove(note)
        _remove(note.with_suffix(".lock"))
        own.release(force=True)
        _remove(note.with_suffix(".lock"))  # Windows keeps a file that is open


def _list_reserved(folder: Path) -> set[str]:
    """Names that other runs have reserved, in lower case; notes of runs that are gone are removed."""
    from filelock import FileLock, Timeout

    taken: set[str] = set()
    for note in folder.glob(".ea-*.names"):
        lock = note.with_suffix(".lock")
        try:
            with FileLock(lock, timeout=0):
                _remove(note)
                _remove(lock)
        except Timeout:
            with suppress(OSError, ValueError):
                taken.update(str(name).casefold() for name in json.loads(note.read_text(encoding="utf-8")))
    return taken


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _add_number(path: Path, number: int) -> Path:
    """The path with a number, and a shorter stem where that made the name too long."""
    ending, stem = f"-{number}{path.suffix}", path.stem
    while len(_encode(stem + ending)) > NAME_BYTES:
        stem = stem[:-1]
    return path.with_name(stem + ending)


def _encode(name: str) -> bytes:
    """A name as the limits of file systems count it: bytes, on Windows characters."""
    return name.encode("utf-16-le", "surrogatepass")[::2] if sys.platform == "win32" else os.fsencode(name)
