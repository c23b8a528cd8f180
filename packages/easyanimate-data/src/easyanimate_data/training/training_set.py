"""A training set of clips and images: batches of pixels, captions and masks, as a sampler plans them.

Axes: B items, T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict

import numpy as np
from easyanimate_core.errors import MediaError, RequestError

from easyanimate_data.training.bucket import BASE_SIZE, keep_frames
from easyanimate_data.training.clip_range import find_range
from easyanimate_data.training.entry import read_entries
from easyanimate_data.training.mask import draw_kind, draw_mask
from easyanimate_data.training.random_stream import Purpose, open_stream
from easyanimate_data.training.reading import find_size, read_covering
from easyanimate_data.training.replacement import TIME_LIMIT, SampleReader, list_candidates

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_data.frames import Frames, Reader
    from easyanimate_data.training.entry import Entry, Kind
    from easyanimate_data.training.mask import MaskRule
    from easyanimate_data.training.sampler import Batch


class TrainingBatch(TypedDict):
    """What a step trains on."""

    frames: Frames
    """uint8 [B, T, H, W, 3]"""
    text: list[str]
    """B captions, some of them dropped"""
    mask: NotRequired[Frames]
    """uint8 [B, T, H, W]: 255 is to be made, 0 is given; only with a mask rule"""
    bad: list[str]
    """a line for each item that was replaced by another"""


class _Item(NamedTuple):
    frames: Frames
    text: str
    rng: np.random.Generator


@dataclass(frozen=True)
class TrainingSet:
    """Reads the batches that a `BatchSampler` plans: `training_set[batch]`.

    What is read depends on the seed, the epoch, the index and the shape of the batch alone, whichever process or worker
    reads it. A sample that cannot be read, or not in time, is replaced by another of its kind.

    Args:
        path: The JSON or CSV file, as `read_entries` takes it.
        root: What relative paths start from; by default the folder of the file.
        seed: Chooses the places in the videos, dropped captions and masks.
        stride: Distance between the frames taken from a video.
        video_repeat: How often each video occurs, from another place each time.
        empty_text_share: Share of the captions that are dropped.
        mask_rule: Draws inpainting masks as "v4" or "v3" trains with them; None draws none.
        reader: "pyav", or "decord" where it is installed.
        seconds: What a sample may take.
        compat: As in the original, a `video_repeat` of 0 leaves the videos out.

    Raises:
        MediaError: When the list is not of this format or files are missing, naming them.
        RequestError: When nothing is left.
    """

    path: Path
    root: Path | None = None
    seed: int = 0
    stride: int = 1
    video_repeat: int = 1
    empty_text_share: float = 0.0
    mask_rule: MaskRule | None = None
    reader: Reader = "pyav"
    seconds: float = TIME_LIMIT
    compat: bool = False

    def __post_init__(self) -> None:
        """Read the list now, so that a mistake in it shows before anything is computed."""
        if self.video_repeat < (0 if self.compat else 1):
            raise RequestError(
                "A video occurs at least once.",
                received=f"video_repeat {self.video_repeat}",
                expected="1 or more",
                fix="compat=True with 0 leaves the videos out, as the original does",
            )
        if not self.entries:
            raise RequestError("The dataset has no images, and its videos are left out.", received=self.path)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The items: images, then videos, these as often as wanted."""
        rows = read_entries(self.path, self.root)
        videos = tuple(entry for entry in rows if entry.kind == "video")
        return tuple(entry for entry in rows if entry.kind == "image") + videos * self.video_repeat

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of every item."""
        return tuple(entry.kind for entry in self.entries)

    @property
    def bad(self) -> list[str]:
        """A line for each item that was replaced in this process; those of a worker are in its batches."""
        return self._samples.bad

    @cached_property
    def _samples(self) -> SampleReader:
        return SampleReader(self.seconds)

    @cached_property
    def _sizes(self) -> dict[Path, tuple[int, int]]:
        return {}

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.entries)

    def find_size(self, index: int) -> tuple[int, int]:
        """Height and width of an item in pixels; a square where the file cannot be read, and will be replaced."""
        entry = self.entries[index]
        if entry.path not in self._sizes:
            try:
                self._sizes[entry.path] = self._samples.read(lambda _: find_size(entry), index)
            except MediaError:
                self._sizes[entry.path] = BASE_SIZE, BASE_SIZE
        return self._sizes[entry.path]

    def __getitem__(self, batch: Batch, /) -> TrainingBatch:
        """Read a batch.

        Clips are cut to the length of the shortest, down to a multiple of the VAE's chunk.

        Raises:
            MediaError: When neither an item nor ten others can be read.
        """
        items: list[_Item] = []
        bad: list[str] = []
        for index in batch.indices:
            others = open_stream(Purpose.REPLACEMENT, self.seed, batch.epoch, index)
            item, lines = self._samples.read_first(
                list_candidates(self.kinds, index, others), partial(self._read, batch, index)
            )
            items.append(item)
            bad += lines
        shape = batch.shape
        num_frames = keep_frames(min(len(item.frames) for item in items), batch.chunk_frames, shape.num_frames)
        read: TrainingBatch = {
            "frames": np.stack([item.frames[:num_frames] for item in items]),
            "text": [item.text for item in items],
            "bad": bad,
        }
        if self.mask_rule is not None:
            sizes = num_frames, shape.height, shape.width
            rule = self.mask_rule
            read["mask"] = np.stack(
                [draw_mask(draw_kind(num_frames, item.rng, rule), sizes, item.rng) for item in items]
            )
        return read

    def _read(self, batch: Batch, index: int, read_index: int) -> _Item:
        """Read the item `read_index` in the place of `index`, or as itself."""
        entry = self.entries[read_index]
        # A stream of its own for each try: one that takes too long still runs.
        rng = open_stream(Purpose.ITEM, self.seed, batch.epoch, index, read_index)
        text = "" if rng.random() < self.empty_text_share else entry.text
        shape = batch.shape
        frames = read_covering(
            entry,
            (shape.height, shape.width),
            lambda total: find_range(total, shape.num_frames, self.stride).draw(rng),
            reader=self.reader,
        )
        return _Item(frames, text, rng)
