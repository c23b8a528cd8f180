"""Reads the list of a dataset: rows of a JSON or CSV file that name clips and images and their captions."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal, get_args

from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["video", "image"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SHOWN_MISTAKES = 20

DATASET_NAME = "json_of_internal_datasets.json"
"""What the original calls a dataset's JSON."""


@dataclass(frozen=True)
class Entry:
    """A row of a dataset.

    Args:
        path: The file.
        text: Its caption.
        kind: "video" or "image".
        height: In pixels, upright, where the row says so.
        width: The same.
    """

    path: Path
    text: str
    kind: Kind
    height: int | None = None
    width: int | None = None


def read_entries(path: Path, root: Path | None = None) -> tuple[Entry, ...]:
    """Read the rows of a dataset and check that every file is there.

    A row has `file_path`, `text` and `type` ("video" or "image"; missing or empty means image), and may have `height`
    and `width`.

    Args:
        path: A JSON file, a list of objects; or a CSV file with a header, when its name ends so. Of a folder, the JSON
            that `ea data export` and `ea data shapes` write into it.
        root: What relative paths start from; by default the folder of the file.

    Raises:
        MediaError: Listing the rows that cannot be used.
    """
    if path.is_dir():
        path = path / DATASET_NAME
    rows = _read_rows(path)
    base = path.parent if root is None else root
    entries: list[Entry] = []
    mistakes: list[str] = []
    for number, row in enumerate(rows):
        entry = _read_row(row, base)
        if isinstance(entry, Entry):
            entries.append(entry)
        else:
            mistakes.append(f"row {number}: {entry}")
    if mistakes:
        more = f"\n    and {len(mistakes) - SHOWN_MISTAKES} more" if len(mistakes) > SHOWN_MISTAKES else ""
        raise MediaError(
            f"{len(mistakes)} of {len(rows)} rows of {path} cannot be used.",
            received="\n    ".join(["", *mistakes[:SHOWN_MISTAKES]]) + more,
            expected=f"rows of file_path, text and type, whose files are below {base}",
        )
    return tuple(entries)


def _read_rows(path: Path) -> list[Any]:
    table = path.suffix.lower() == ".csv"
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows: Any = list(csv.DictReader(StringIO(text, newline=""), strict=True)) if table else json.loads(text)
    except (OSError, ValueError, csv.Error) as error:
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


def _read_row(row: Any, base: Path) -> Entry | str:
    """The entry, or what is wrong with the row."""
    if not isinstance(row, dict) or not isinstance(row.get("file_path"), str) or not isinstance(row.get("text"), str):
        return "file_path and text are needed"
    kind = row.get("type") or "image"
    if kind not in KINDS:
        return f"type {kind!r} is none of {', '.join(KINDS)}"
    sizes: list[int | None] = []
    for name in ("height", "width"):
        value = row.get(name)
        size = _read_size(value)
        if size is None and value not in (None, ""):
            return f"{name} {value!r} is no number of pixels"
        sizes.append(size)
    path = base / row["file_path"]
    return Entry(path, row["text"], kind, *sizes) if path.is_file() else f"no such file: {path}"


def _read_size(value: Any) -> int | None:
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return int(size) if size >= 1 and size.is_integer() else None
