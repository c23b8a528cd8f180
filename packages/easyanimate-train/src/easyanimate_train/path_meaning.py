"""Where the paths among the settings of a run lead and what lies there, so that a resumed run is told by that."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

_PIECE = 2**16
"""Bytes at the beginning and at the end of a file that stand for it."""

_MOST_READ = 1000
"""Of a folder's files so many are opened: for a training set of a hundred thousand clips that would take minutes."""

_MOST_FILES = 200_000
"""A folder of more files is known by its path alone."""


class Place(TypedDict):
    """Where a path leads.

    Args:
        path: The absolute path, without links.
        content: A hash of the files there: names and sizes of all, ends of the first; empty where there are none or too
            many.
    """

    path: str
    content: str


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names, such as `data.workers`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def find_places(config: Any, leave_out: frozenset[str]) -> dict[str, Place]:
    """The places of all settings that are paths, or texts that name something on disk.

    Args:
        config: Settings, a dataclass.
        leave_out: Whole names of settings that do not matter.
    """
    settings = flatten(dataclasses.asdict(config))
    return {
        name: _describe(Path(value))
        for name, value in settings.items()
        if name not in leave_out and (isinstance(value, Path) or (isinstance(value, str) and _is_there(value)))
    }


def leads_to_same(before: Place, now: Place) -> bool:
    """Whether two paths mean the same: the same place, or the same files at another one."""
    return before["path"] == now["path"] or (before["content"] != "" and before["content"] == now["content"])


def _is_there(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _describe(path: Path) -> Place:
    with suppress(RuntimeError):  # nobody has such a home folder
        path = path.expanduser()
    path = Path(os.path.realpath(path))  # `Path.resolve` fails at links that lead to themselves
    try:
        return {"path": str(path), "content": _hash(path)}
    except OSError:
        return {"path": str(path), "content": ""}


def _hash(path: Path) -> str:
    """A hash of a file, or of what is in a folder, but for hidden files; empty where there is nothing or too much."""
    files = [path] if path.is_file() else _list_files(path)
    if not files or len(files) > _MOST_FILES:
        return ""
    found = hashlib.sha256()
    for number, file in enumerate(files):
        size = file.stat().st_size
        name = "" if file == path else file.relative_to(path).as_posix()
        found.update(f"{name}\0{size}\0".encode(errors="surrogatepass"))
        if number >= _MOST_READ:
            continue
        with file.open("rb") as opened:
            found.update(opened.read(_PIECE))
            if size > _PIECE:
                opened.seek(max(size - _PIECE, _PIECE))
                found.update(opened.read(_PIECE))
    return found.hexdigest()


def _list_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += (Path(where, name) for name in sorted(names) if not name.startswith("."))
        if len(files) > _MOST_FILES:
            break
    return [file for file in files if file.is_file()]
