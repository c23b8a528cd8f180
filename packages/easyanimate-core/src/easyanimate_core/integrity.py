"""Hashes of weights: for run manifests, kept between runs, and for `ea weights verify`, computed anew."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import WeightsError
from easyanimate_core.machine import user_cache_folder
from easyanimate_core.request import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

_SHA256_LENGTH = 64
_SHA1_LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """A file of a checkpoint that is whole.

    Args:
        name: Path below the folder, with slashes.
        size_bytes: Its size.
        sha256: Its hash.
        confirmed: Whether the hash equals what Hugging Face said at the download; False where it said nothing.
    """

    name: str
    size_bytes: int
    sha256: str
    confirmed: bool


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"The file cannot be read: {path}", received=error.strerror or error) from error


def hash_weights(folder: Path, cache_folder: Path | None = None) -> dict[str, str]:
    """SHA-256 of every file in a weights folder, by path below the folder.

    A file is not read again while its size and time of change stay the same.

    Args:
        folder: The weights.
        cache_folder: Where the hashes are kept; None takes the user's cache folder.
    """
    cache_path = (cache_folder or user_cache_folder()) / "hashes.json"
    known = _read_cache(cache_path)
    hashes: dict[str, str] = {}
    changed = False
    for name, path in _files(folder).items():
        facts = path.stat()
        location, stamp = str(path.resolve()), f"{facts.st_size}-{facts.st_mtime_ns}"
        entry = known.get(location)
        if entry is None or entry[0] != stamp:
            entry = known[location] = (stamp, hash_file(path))
            changed = True
        hashes[name] = entry[1]
    if changed:
        # A cache that cannot be written only costs time on the next run.
        with suppress(OSError), atomic_path(cache_path) as part:
            alive = {location: entry for location, entry in known.items() if Path(location).exists()}
            part.write_text(json.dumps(alive), encoding="utf-8")
    return hashes


def verify(
    folder: Path,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[FileCheck, ...]:
    """Read every byte of a weights folder that is whole, and compare it with what is known about it.

    Args:
        folder: The weights.
        on_progress: Called with the phase "verify" and bytes.

    Raises:
        WeightsError: When a file is not what Hugging Face said at the download.
    """
    files = _files(folder)
    total = sum(path.stat().st_size for path in files.values())
    done = 0
    checks: list[FileCheck] = []
    for name, path in files.items():
        size, sha256 = path.stat().st_size, hash_file(path)
        promised = _promised_hash(folder, name)
        actual = sha256 if promised is None or len(promised) == _SHA256_LENGTH else _git_hash(path)
        if promised is not None and actual != promised:
            raise WeightsError(
                f"The file has changed since its download: {path}",
                received=f"hash {actual}",
                expected=f"hash {promised}",
                fix=f"remove {path} and download it again: ea weights pull MODEL NAME",
            )
        checks.append(FileCheck(name=name, size_bytes=size, sha256=sha256, confirmed=promised is not None))
        done += size
        if on_progress is not None:
            on_progress(Progress("verify", done, total))
    return tuple(checks)


def _files(folder: Path) -> dict[str, Path]:
    """All files by path below the folder; hidden ones, such as download records, are left out."""
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = {path for path, name in names.items() if any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): path for path, name in names.items() if path not in hidden}


def _promised_hash(folder: Path, name: str) -> str | None:
    """The hash that Hugging Face gave when it sent the file: SHA-256 of large files, git's SHA-1 of small ones."""
    record = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    promised = lines[1].strip() if len(lines) > 1 else ""
    return promised if len(promised) in (_SHA1_LENGTH, _SHA256_LENGTH) else None


def _git_hash(path: Path) -> str:
    """The name that git gives to the content of a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _read_cache(path: Path) -> dict[str, tuple[str, str]]:
    try:
        entries = cast("dict[str, list[str]]", json.loads(path.read_text(encoding="utf-8")))
        return {location: (stamp, sha256) for location, (stamp, sha256) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # missing or damaged: it is made again
