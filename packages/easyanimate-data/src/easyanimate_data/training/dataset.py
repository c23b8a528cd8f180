"""Items of a dataset at one size and length: what `ea train` reads under the name `json`.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from easyanimate_core.errors import MediaError

from easyanimate_data.training.entry import read_entries
from easyanimate_data.training.random_stream import Purpose, open_stream
from easyanimate_data.training.reading import read_covering
from easyanimate_data.training.replacement import SampleReader, list_candidates

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core.interfaces import Sample

    from easyanimate_data.frames import Reader
    from easyanimate_data.training.entry import Entry, Kind


@dataclass(frozen=True)
class JsonClips:
    """The items of a dataset JSON or CSV: `file_path`, `text`, `type` ("video" or "image"; missing means image).

    A video gives `num_frames` frames from a place that depends on the seed and the index; an image gives one frame.
    Frames are scaled to cover the size and cut in the middle. A file that cannot be read, or not within 20 seconds, and
    a video that is too short are replaced by another of the same kind; `bad` says which.

    Args:
        path: The JSON or CSV file.
        num_frames: Frames of a clip.
        height: In pixels.
        width: In pixels.
        stride: Distance between the frames taken from a video.
        seed: Chooses the places.
        root: What relative paths start from; by default the folder of the file.
        reader: "pyav", or "decord" where it is installed.

    Raises:
        MediaError: When the list is not of this format or files are missing, naming them.
    """

    path: Path
    num_frames: int
    height: int
    width: int
    stride: int = 1
    seed: int = 0
    root: Path | None = None
    reader: Reader = "pyav"

    def __post_init__(self) -> None:
        """Read the list now, so that a mistake in it shows before anything is computed."""
        _ = self.entries

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The rows of the list."""
        return read_entries(self.path, self.root)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The caption of every item."""
        return tuple(entry.text for entry in self.entries)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of every item."""
        return tuple(entry.kind for entry in self.entries)

    @property
    def bad(self) -> list[str]:
        """A line for each item that was replaced."""
        return self._samples.bad

    @cached_property
    def _samples(self) -> SampleReader:
        return SampleReader()

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.entries)

    def __getitem__(self, index: int, /) -> Sample:
        """`frames` uint8 [T, H, W, 3] and `text`; `MediaError` when neither it nor ten others can be read."""
        others = open_stream(Purpose.REPLACEMENT, self.seed, 0, index)
        sample, _ = self._samples.read_first(list_candidates(self.kinds, index, others), self._read)
        return sample

    def _read(self, index: int) -> Sample:
        entry = self.entries[index]
        frames = read_covering(
            entry, (self.height, self.width), lambda total: self._choose(total, index), reader=self.reader
        )
        return {"frames": frames, "text": entry.text}

    def _choose(self, total: int, index: int) -> range:
        span = (self.num_frames - 1) * self.stride + 1
        if total < span:
            raise MediaError(
                "A video is too short for training.",
                received=f"{total} frames",
                expected=f"at least {span}: {self.num_frames} frames, {self.stride} apart",
                fix="train on fewer frames, or take the video out of the dataset",
            )
        start = int(np.random.default_rng((self.seed, index)).integers(total - span + 1))
        return range(start, start + span, self.stride)
