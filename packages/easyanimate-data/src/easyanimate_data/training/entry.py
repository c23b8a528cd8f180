"""Reads the list of a dataset: rows of a file that name clips and images and their captions, or files beside them."""

from __future__ import annotations

import csv
import json
import os
from io import StringIO
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, NamedTuple, get_args

from easyanimate_core.errors import MediaError
from easyanimate_core.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from easyanimate_core.rate import MAX_RATE
from easyanimate_core.table_text import decode_text, find_delimiter

Kind = Literal["video", "image"]

KINDS: tuple[Kind, ...] = get_args(Kind)

DATASET_NAME = "json_of_internal_datasets.json"
"""What the original calls a dataset's JSON."""

_LIST_NAMES = (DATASET_NAME, "metadata.jsonl", "metadata.csv", "captions.jsonl", "dataset.json", "dataset.jsonl")
"""Lists of a folder, the first that is there."""

_FILE_NAMES = ("file_path", "file_name", "video_path", "video", "image_path", "image", "media_path", "path", "file")
_TEXT_NAMES = ("text", "caption", "prompt")
"""What lists call the file and its caption; the first is that of the original."""

_CAPTION_ENDINGS = (".txt", ".caption")

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
    """Read the rows of a dataset, in this project's format or that of other trainers.

    A row has `file_path`, `text` and `type` ("video" or "image"; missing or empty means image), and may have `height`,
    `width` and `fps`. Other names are known for the file (`file_name`, `video`, ...) and the text (`caption`,
    `prompt`); of rows whose file goes by one of them, the ending of the file tells the type. A backslash separates
    folders, too.

    Args:
        path: A JSON file, a list of objects; `.jsonl`, an object per line; `.csv` or `.tsv` with a header. Of a folder,
            the list that `ea data export` and `ea data shapes` write into it, else its `metadata.jsonl`, `metadata.csv`
            and the like, else all videos and images in it with their captions beside them: `0.mp4` and `0.txt`.
        root: What relative paths start from; by default the folder of the file.

    Raises:
        MediaError: When the file is no list of this kind.
    """
    if path.is_dir():
        listed = next((path / name for name in _LIST_NAMES if (path / name).is_file()), None)
        if listed is None:
            return list_files(path)
        path = listed
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


def list_files(folder: Path, *, needs_captions: bool = True) -> Listing:
    """The videos and images in a folder and below, with the texts of the files beside them that end in .txt.

    Args:
        folder: Hidden files and folders in it do not count.
        needs_captions: Whether there must be a caption at least.

    Raises:
        MediaError: When there is no video and no image, or not one caption.
    """
    from natsort import natsorted

    media: list[Path] = []
    for where, folders, names in os.walk(folder.absolute()):
        folders[:] = [name for name in folders if not name.startswith(".")]
        media += (Path(where, name) for name in names if not name.startswith(".") and tell_kind(name))
    listing, num_captions = Listing([], {}), 0
    for number, file in enumerate(natsorted(media)):
        beside = [file.with_suffix(ending) for ending in _CAPTION_ENDINGS] + [file.with_name(f"{file.name}.txt")]
        caption = next((path for path in beside if path.is_file()), None)
        num_captions += caption is not None
        try:
            text = "" if caption is None else " ".join(decode_text(caption.read_bytes()).split())
        except (OSError, ValueError) as error:
            listing.mistakes[number] = f"{caption}: {error}"
            continue
        listing.entries.append(Entry(number, str(file), text, tell_kind(file.name) or "image"))
    if not media or (needs_captions and not num_captions):
        raise MediaError(
            "The folder is no dataset.",
            received=f"{folder}: {len(media)} videos and images, no captions" if media else folder,
            expected=f"{DATASET_NAME}, metadata.jsonl or metadata.csv, or videos and images with captions beside them "
            "(0.mp4, 0.txt)",
            fix=f"write captions: ea data captions {folder}" if media else "name the folder of a dataset",
        )
    return listing


def tell_kind(name: str) -> Kind | None:
    """What a file is by its ending; None where it is neither a video nor an image."""
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a million Paths take their time)
    return "video" if ending in VIDEO_SUFFIXES else "image" if ending in IMAGE_SUFFIXES else None


def _read_rows(path: Path) -> list[Any]:
    ending = path.suffix.lower()
    table = ending in (".csv", ".tsv")
    try:
        text = decode_text(path.read_bytes())
        rows: Any
        if table:
            rows = list(csv.DictReader(StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True))
        elif ending == ".jsonl":
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            rows = json.loads(text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise MediaError(
            "The dataset cannot be read.", received=f"{path}: {error}", expected="a JSON, JSONL or CSV file"
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
    file_name = next((name for name in _FILE_NAMES if row.get(name) is not None), _FILE_NAMES[0])
    text_name = next((name for name in _TEXT_NAMES if row.get(name) is not None), _TEXT_NAMES[0])
    for name in (file_name, text_name):
        if not isinstance(row.get(name), str):
            return f"{name} {_show(row[name])} is no text" if row.get(name) is not None else f"{name} is missing"
    kind = row.get("type") or (tell_kind(row[file_name]) if file_name != _FILE_NAMES[0] else None) or "image"
    if kind not in KINDS:
        return f"type {_show(kind)} is none of {', '.join(KINDS)}"
    sizes: list[int | None] = []
    for name in ("height", "width"):
        value = row.get(name)
        size = _read_size(value)
        if size is None and value not in (None, ""):
            return f"{name} {_show(value)} is no number of pixels"
        sizes.append(size)
    fps = _read_rate(row.get("fps"))
    if fps is None and row.get("fps") not in (None, ""):
        return f"fps {_show(row['fps'])} is no frame rate"
    return Entry(number, _find_file(row[file_name], base), row[text_name], kind, *sizes, fps=fps)


def _find_file(name: str, base: str) -> str:
    """The file that a row names, also where it was written on Windows and the files are somewhere else now."""
    if "\0" in name:
        return name.replace("\0", "?")  # no file has such a name
    file = os.path.join(base, name)  # noqa: PTH118 (a million Paths take their time)
    if "\\" not in name or os.sep == "\\" or os.path.exists(file):  # noqa: PTH110
        return file
    parts = PureWindowsPath(name).parts[1:] if PureWindowsPath(name).drive else PureWindowsPath(name).parts
    # Of an absolute path, as much of its end as is here.
    tails = [os.path.join(base, *parts[start:]) for start in range(len(parts))]  # noqa: PTH118
    return next((tail for tail in tails if os.path.exists(tail)), tails[0] if tails else file)  # noqa: PTH110


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
