"""Reads the list of a dataset: rows of a JSON or CSV file that name clips and images and their captions."""

from __future__ import annotations

import csv
import json
import os
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from easyanimate_core.errors import MediaError
from easyanimate_core.rate import MAX_RATE

Kind = Literal["video", "image"]

KINDS: tuple[Kind, ...] = get_args(Kind)

DATASET_NAME = "json_of_internal_datasets.json"
"""What the original calls a dataset's JSON."""

_SHOWN = 80
"""Characters of a wrong row that are shown."""


class Entry(NamedTuple):
    """A row of a dataset; there may be millions.

    Args:
        row: Rows before it.
        file: Path of the file.
        text: Its caption.
        kind: "video" or "image".
        height: In pixels, upright, where the row says so.
        width: The same.
        fps: Frames per second of a video, where the row says so.
    """

    row: int
    file: str
    text: str
    kind: Kind
    height: int | None = None
    width: int | None = None
    fps: float | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file)


class Listing(NamedTuple):
    """A list of clips and images.

    Args:
        entries: The rows that say what is needed. Nobody has looked yet whether their files are there.
        mistakes: What is wrong with the others, by row.
    """

    entries: list[Entry]
    mistakes: dict[int, str]


def read_entries(path: Path, root: Path | None = None) -> Listing:
    """Read the rows of a dataset.

    A row has `file_path`, `text` and `type` ("video" or "image"; missing or empty means image), and may have `height`,
    `width` and `fps`.

    Args:
        path: A JSON file, a list of objects; or a CSV file with a header, when its name ends so. Of a folder, the JSON
            that `ea data export` and `ea data shapes` write into it.
        root: What relative paths start from; by default the folder of the file.

    Raises:
        MediaError: When the file is no list of this kind.
    """
    if path.is_dir():
        path = path / DATASET_NAME
    rows = _read_rows(path)
    base = os.fspath((path.parent if root is None else root).absolute())
    listing = Listing([], {})
    for number, row in enumerate(rows):
        entry = _read_row(number, row, base)
        if isinstance(entry, Entry):
            listing.entries.append(entry)
        else:
            listing.mistakes[number] = entry
    return listing


def _read_rows(path: Path) -> list[Any]:
    table = path.suffix.lower() == ".csv"
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows: Any = list(csv.DictReader(StringIO(text, newline=""), strict=True)) if table else json.loads(text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise MediaError(
            "The dataset cannot be read.", received=f"{path}: {error}", expected="a JSON or CSV file"
        ) from error
    if not isinstance(rows, list) or not rows:
        raise MediaError(
            "The dataset is no list of clips.",
            received=path,
            expected="a header with file_path, text and type, and rows"
            if table
            else '[{"file_path": "clips/0.mp4", "text": "a red circle", "type": "video"}, ...]',
        )
    return rows


def _read_row(number: int, row: Any, base: str) -> Entry | str:
    """The entry, or what is wrong with the row."""
    if not isinstance(row, dict):
        return f"an object is needed, not {_show(row)}"
    for name in ("file_path", "text"):
        if not isinstance(row.get(name), str):
            return f"{name} {_show(row[name])} is no text" if row.get(name) is not None else f"{name} is missing"
    kind = row.get("type") or "image"
    if kind not in KINDS:
        return f"type {_show(kind)} is none of {', '.join(KINDS)}"
    sizes: list[int | None] = []
    for name in ("height", "width"):
        value = row.get(name)
        size = _read_size(value)
        if size is None and value not in (None, ""):
            return f"{name} {_show(value)} is no number of pixels"
        sizes.append(size)
    file = os.path.join(base, row["file_path"])  # noqa: PTH118 (a million Paths take their time)
    fps = _read_rate(row.get("fps"))
    if fps is None and row.get("fps") not in (None, ""):
        return f"fps {_show(row['fps'])} is no frame rate"
    return Entry(number, file, row["text"], kind, *sizes, fps=fps)


def _read_size(value: Any) -> int | None:
    try:
        size = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(size) if 1 <= size < 2**31 and size.is_integer() else None


def _read_rate(value: Any) -> float | None:
    try:
        rate = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return rate if 0 < rate <= MAX_RATE else None


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
