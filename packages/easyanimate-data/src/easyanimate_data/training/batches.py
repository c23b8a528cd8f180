"""Batches of a training set: pixels, captions and masks of rows that belong together.

Axes: B rows, T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from easyanimate_core.dataset import BatchRow, TrainingBatch
from easyanimate_core.errors import MediaError, RequestError

from easyanimate_data.timeline import read_timeline
from easyanimate_data.training.batch_shape import check_rule
from easyanimate_data.training.bucket import find_ratios, keep_frames
from easyanimate_data.training.clip_range import find_range
from easyanimate_data.training.frame_rate import list_ticks
from easyanimate_data.training.mask import draw_kind, draw_mask
from easyanimate_data.training.plan import Batch, Items, Plan, make_plan
from easyanimate_data.training.random_stream import Purpose, open_stream
from easyanimate_data.training.reading import read_covering, read_still
from easyanimate_data.training.replacement import TIME_LIMIT, TimedReader, list_candidates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from easyanimate_core.dataset import BatchRule

    from easyanimate_data.frames import Frames, Reader
    from easyanimate_data.timeline import Timeline
    from easyanimate_data.training.clip_range import ClipRange
    from easyanimate_data.training.entry import Entry
    from easyanimate_data.training.mask import MaskRule


class _Sample(NamedTuple):
    frames: Frames
    text: str


class _Clips(NamedTuple):
    """What is known of the videos of a batch before they are read."""

    num_frames: int
    timelines: dict[Path, Timeline]
    bad: list[str]


@dataclass(frozen=True)
class TrainingBatches:
    """A `BatchedDataset`: what is read depends on the rule, the seed, the epoch and the row alone, whoever reads it.

    An item is an entry, or a video once more, as often as the rule repeats videos. A batch is a `Batch`; a row is an
    index into its items. An item that cannot be read, or not in time, is replaced by another of its kind.

    Args:
        entries: The rows of a list, with height and width.
        rule: What batches are made of; `chunk_frames` None means 1.
        seed: Of everything random.
        reader: "pyav", or "decord" where it is installed.
        seconds: Time limit for reading an item.
        skipped: A line for each row of the list that cannot be used and is not among the entries.

    Raises:
        RequestError: When the rule has no meaning here, or leaves nothing.
    """

    entries: Sequence[Entry]
    rule: BatchRule
    seed: int
    reader: Reader = "pyav"
    seconds: float = TIME_LIMIT
    skipped: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse rules that mean nothing here."""
        check_rule(self.rule)
        if not len(self.items.videos):
            raise RequestError(
                "The dataset has no images, and video_repeat 0 leaves its videos out.", received="video_repeat 0"
            )

    @cached_property
    def items(self) -> Items:
        """What is known of every item: images come first, then videos, as often as wanted."""
        videos = np.array([entry.kind == "video" for entry in self.entries], bool)
        sizes = np.array([(entry.height, entry.width) for entry in self.entries], np.int64).reshape(-1, 2)
        images, clips = np.flatnonzero(~videos), np.flatnonzero(videos)
        repeats = np.arange(self.rule.video_repeat).repeat(len(clips))
        indices = np.concatenate([images, np.tile(clips, self.rule.video_repeat)])
        return Items(
            entries=indices,
            repeats=np.concatenate([np.zeros(len(images), np.int64), repeats]),
            videos=videos[indices],
            sizes=sizes[indices],
            ratios=(find_ratios(sizes) if self.rule.buckets else np.ones(len(sizes)))[indices],
        )

    @cached_property
    def _samples(self) -> TimedReader:
        return TimedReader(self.seconds, self._name)

    @cached_property
    def _lengths(self) -> dict[Path, tuple[tuple[int, int], int]]:
        """Size and time of change of videos, and their frames."""
        return {}

    @property
    def bad(self) -> list[str]:
        """A line for each item that was replaced in this process; those of a worker are in its batches."""
        return self._samples.bad

    def plan(self, epoch: int, /) -> Plan:
        """The batches of an epoch; see `make_plan`."""
        return make_plan(self.items, self.rule, seed=self.seed, epoch=epoch)

    def describe(self, batch: Batch, /) -> list[BatchRow]:
        """The rows of a batch. They have an identity where epochs repeat others, so that it comes again."""
        identities = self._identify(batch) if self.rule.passes else [""] * len(batch.indices)
        return [
            BatchRow(
                seed=(self.seed, batch.variant, *self._key(index)),
                identity=identity,
                empty_text=bool(self._open(Purpose.CAPTION, batch, index).random() < self.rule.empty_text_share),
            )
            for index, identity in zip(batch.indices, identities, strict=True)
        ]

    def _identify(self, batch: Batch) -> list[str]:
        """Names all that decides what `load` gives for each row."""
        rule, shape = self.rule, batch.shape
        entries = [self._entry(index) for index in batch.indices]
        files = [f"{entry.file} {' '.join(map(str, _stat(entry.path)))}" for entry in entries]
        settings = (
            f"{shape.num_frames}x{shape.height}x{shape.width} chunk {rule.chunk_frames} stride {rule.stride} "
            f"mask {rule.mask_rule} seed {self.seed} variant {batch.variant} reader {self.reader}"
        )
        if rule.fps is not None:
            settings += f" fps {rule.fps:g}"
        # The shortest video decides on the frames of all.
        others = sha256("\n".join(files).encode(errors="surrogatepass")).hexdigest() if batch.kind == "video" else ""
        return [
            f"{file}\nrow {self._key(index)} with {others} {settings}\n{entry.text}"
            for index, entry, file in zip(batch.indices, entries, files, strict=True)
        ]

    def load(self, batch: Batch, rows: Sequence[int], /) -> TrainingBatch:
        """Read some rows of a batch, with their captions as they stand in the list.

        Clips are cut to the length of the shortest of the batch, down to a multiple of the VAE's chunk, whichever rows
        are read. `bad` also has the lines of other rows that were replaced before this was decided.

        Raises:
            MediaError: When neither an item nor ten others can be read.
        """
        clips = self._find_clips(batch, rows)
        read: list[_Sample] = []
        bad = list(clips.bad)
        for row in rows:
            index = batch.indices[row]
            sample, lines = self._samples.read_first(
                self._list_candidates(batch, index), partial(self._read, batch, clips, index)
            )
            read.append(sample)
            bad += lines
        loaded: TrainingBatch = {
            "frames": np.stack([sample.frames for sample in read]),
            "text": [sample.text for sample in read],
            "bad": list(dict.fromkeys(bad)),
        }
        if self.rule.mask_rule is not None:
            masks = [self._draw_mask(batch, batch.indices[row], clips.num_frames) for row in rows]
            loaded["mask"] = np.stack(masks)
        return loaded

    def _find_clips(self, batch: Batch, rows: Sequence[int]) -> _Clips:
        """How many frames a batch has; every process finds the same. What it learns of the rows to read is kept."""
        clips = _Clips(1, {}, [])
        if batch.shape.num_frames == 1:
            return clips
        wanted = {self._entry(batch.indices[row]).path for row in rows}
        counts: list[int] = []
        for index in batch.indices:
            count, bad = self._samples.read_first(
                self._list_candidates(batch, index),
                lambda tried: self._count_frames(batch, tried, clips.timelines, wanted),
                report=False,
            )
            counts.append(count)
            clips.bad.extend(bad)
        chunk = self.rule.chunk_frames or 1
        return clips._replace(num_frames=keep_frames(min(counts), chunk, batch.shape.num_frames))

    def _count_frames(self, batch: Batch, index: int, timelines: dict[Path, Timeline], wanted: set[Path]) -> int:
        """Frames that a video can give to a batch."""
        path = self._entry(index).path
        stamp = _stat(path)
        known = self._lengths.get(path)
        if known is None or known[0] != stamp:
            timeline = read_timeline(path)
            known = self._lengths[path] = stamp, len(list_ticks(timeline, self.rule.fps))
            if path in wanted:
                timelines[path] = timeline
        return self._find_range(batch, path, known[1]).num_frames

    def _read(self, batch: Batch, clips: _Clips, index: int, tried: int) -> _Sample:
        """Read the item `tried` instead of `index`, which may be the same."""
        entry = self._entry(tried)
        size = batch.shape.height, batch.shape.width
        if entry.kind == "image":
            return _Sample(read_still(entry.path, size), entry.text)
        # A stream of its own for each try: one that takes too long still runs.
        rng = self._open(Purpose.ITEM, batch, index, *self._key(tried))

        def choose(timeline: Timeline) -> list[int]:
            ticks = list_ticks(timeline, self.rule.fps)
            chosen = self._find_range(batch, entry.path, len(ticks)).draw(rng)[: clips.num_frames]
            # One that was found damaged when the length was decided already may be replaced by one that is too short.
            spread = np.linspace(0, len(chosen) - 1, clips.num_frames).round().astype(int)
            chosen = chosen if len(chosen) == clips.num_frames else [chosen[index] for index in spread]
            return [ticks[index] for index in chosen]

        timeline = clips.timelines.get(entry.path)
        frames = read_covering(entry.path, size, choose, timeline=timeline, reader=self.reader)
        return _Sample(frames, entry.text)

    def _find_range(self, batch: Batch, path: Path, total: int) -> ClipRange:
        try:
            return find_range(total, batch.shape.num_frames, self.rule.stride)
        except MediaError as error:
            received = f"{path}: {error.received}"
            raise MediaError(error.message, received=received, expected=error.expected) from error

    def _draw_mask(self, batch: Batch, index: int, num_frames: int) -> Frames:
        rule = cast("MaskRule", self.rule.mask_rule)
        rng = self._open(Purpose.MASK, batch, index)
        return draw_mask(draw_kind(num_frames, rng, rule), (num_frames, batch.shape.height, batch.shape.width), rng)

    def _list_candidates(self, batch: Batch, index: int) -> Iterator[int]:
        return list_candidates(self.items.videos, index, self._open(Purpose.REPLACEMENT, batch, index))

    def _open(self, purpose: Purpose, batch: Batch, index: int, *detail: int) -> np.random.Generator:
        return open_stream(purpose, self.seed, batch.variant, *self._key(index), *detail)

    def _entry(self, index: int) -> Entry:
        return self.entries[self.items.entries[index]]

    def _key(self, index: int) -> tuple[int, int]:
        """An item's row in the list and how often it came before: they stay when other rows are left out."""
        return self._entry(index).row, int(self.items.repeats[index])

    def _name(self, index: int) -> str:
        entry = self._entry(index)
        return f"row {entry.row} ({entry.file})"


def _stat(path: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns
