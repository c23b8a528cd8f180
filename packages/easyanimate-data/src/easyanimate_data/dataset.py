"""Reads training data: clips and images listed in a dataset JSON in the original's format.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.video import read_image, read_video
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core.interfaces import Sample

    from easyanimate_data.frames import Frames

KINDS = ("video", "image")
SHOWN_MISTAKES = 20


@dataclass(frozen=True)
class Entry:
    """A row of the dataset JSON: a file, its caption and its kind, "video" or "image"."""

    path: Path
    text: str
    kind: str


@dataclass(frozen=True)
class JsonClips:
    """The items of a dataset JSON: a list of `file_path`, `text`, `type` ("video" or "image"; missing means image).

    A video gives `num_frames` frames from a place that depends on the seed and the index; an image gives one frame.
    Frames are scaled to cover the size and cut in the middle.

    Args:
        path: The JSON file.
        num_frames: Frames of a clip.
        height: In pixels.
        width: In pixels.
        stride: Distance between the frames taken from a video.
        seed: Chooses the places.
        root: What relative paths start from; by default the folder of the JSON file.

    Raises:
        MediaError: When the JSON is not of this format or files are missing, naming them.
    """

    path: Path
    num_frames: int
    height: int
    width: int
    stride: int = 1
    seed: int = 0
    root: Path | None = None

    def __post_init__(self) -> None:
        """Read the list now, so that a mistake in it shows before anything is computed."""
        _ = self.entries

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The rows of the JSON."""
        return read_entries(self.path, self.root)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The caption of every item."""
        return tuple(entry.text for entry in self.entries)

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.entries)

    def __getitem__(self, index: int, /) -> Sample:
        """`frames` uint8 [T, H, W, 3] and `text`; `MediaError` for a damaged or too short file."""
        entry = self.entries[index]
        frames = read_image(entry.path)[None] if entry.kind == "image" else self._read_clip(entry, index)
        return {"frames": np.stack([cover(frame, self.height, self.width) for frame in frames]), "text": entry.text}

    def _read_clip(self, entry: Entry, index: int) -> Frames:
        frames = read_video(entry.path).frames
        span = (self.num_frames - 1) * self.stride + 1
        if len(frames) < span:
            raise MediaError(
                "A video is too short for training.",
                received=f"{entry.path}: {len(frames)} frames",
                expected=f"at least {span}: {self.num_frames} frames, {self.stride} apart",
                fix="train on fewer frames, or take the video out of the dataset",
            )
        rng = np.random.default_rng((self.seed, index))
        start = int(rng.integers(len(frames) - span + 1))
        return frames[start : start + span : self.stride]


def read_entries(path: Path, root: Path | None = None) -> tuple[Entry, ...]:
    """Read the rows of a dataset JSON and check that every file is there.

    Raises:
        MediaError: Listing the rows that cannot be used.
    """
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError("The dataset cannot be read.", received=f"{path}: {error}", expected="a JSON file") from error
    if not isinstance(rows, list) or not rows:
        raise MediaError(
            "The dataset is no list of clips.",
            received=path,
            expected='[{"file_path": "clips/0.mp4", "text": "a red circle", "type": "video"}, ...]',
        )
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


def _read_row(row: Any, base: Path) -> Entry | str:
    """The entry, or what is wrong with the row."""
    if not isinstance(row, dict) or not isinstance(row.get("file_path"), str) or not isinstance(row.get("text"), str):
        return "file_path and text are needed"
    kind = row.get("type", "image")
    if kind not in KINDS:
        return f"type {kind!r} is none of {', '.join(KINDS)}"
    path = base / row["file_path"]
    return Entry(path, row["text"], kind) if path.is_file() else f"no such file: {path}"


def cover(frame: Frames, height: int, width: int) -> Frames:
    """Scale a frame [H, W, 3] so that it just covers the size, and cut the middle out."""
    if frame.shape[:2] == (height, width):
        return frame
    old_height, old_width = frame.shape[:2]
    scale = max(height / old_height, width / old_width)
    scaled_height, scaled_width = max(height, round(scale * old_height)), max(width, round(scale * old_width))
    scaled = Image.fromarray(frame).resize((scaled_width, scaled_height), Image.Resampling.BICUBIC)
    top, left = (scaled_height - height) // 2, (scaled_width - width) // 2
    return np.asarray(scaled)[top : top + height, left : left + width]
