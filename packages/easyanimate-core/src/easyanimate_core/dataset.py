"""Training data: what a dataset gives, alone or in batches, and what the batches of a training are made of.

Axes: B clips of a batch, T frames, H height, W width; frames are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Protocol, TypedDict, runtime_checkable

from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import NOT_NEGATIVE, SHARE, Range, check_ranges
from easyanimate_core.rate import MAX_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sample(TypedDict):
    """One training item."""

    frames: Any
    """uint8 [T, H, W, 3]; an image has one frame"""
    text: str
    """the caption"""


@runtime_checkable
class VideoDataset(Protocol):
    """Training items by index. The same index gives the same item."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """One item."""
        ...


class TrainingBatch(TypedDict):
    """What a training step is given of the rows that one process takes."""

    frames: Any
    """uint8 [B, T, H, W, 3]"""
    text: list[str]
    """B captions"""
    mask: NotRequired[Any]
    """uint8 [B, T, H, W]: 255 is to be made, 0 is given; only where the data has masks"""
    bad: list[str]
    """a line for each row that could not be read and was replaced by another"""


@dataclass(frozen=True)
class BatchRow:
    """What is known of a row of a batch before it is read.

    Args:
        seed: Numbers that decide what a trainer draws for the row beside noise; the same where the row comes again.
        identity: Names what the row gives; another when its file, size, place or frames change. Empty where nobody can
            tell, so that nothing made of it can be kept.
        empty_text: Whether the caption is dropped, so that the model learns to do without.
    """

    seed: tuple[int, ...]
    identity: str = ""
    empty_text: bool = False


@runtime_checkable
class BatchedDataset(Protocol):
    """Training data that knows which rows belong into one batch. Everything is a function of the arguments alone."""

    def plan(self, epoch: int, /) -> Sequence[Any]:
        """The batches of an epoch in their order; any objects that can be pickled."""
        ...

    def describe(self, batch: Any, /) -> Sequence[BatchRow]:
        """The rows of a batch."""
        ...

    def load(self, batch: Any, rows: Sequence[int], /) -> TrainingBatch:
        """Read some rows of a batch."""
        ...


@runtime_checkable
class Batchable(Protocol):
    """Training data that puts itself into batches, in place of single items."""

    def batched(self, rule: BatchRule, *, seed: int) -> BatchedDataset:
        """The batches that a rule asks for."""
        ...


MASK_RULES = ("v4", "v3")
"""Rules for random masks that datasets of this project know."""


@dataclass(frozen=True, kw_only=True)
class BatchRule:
    """The sizes of batches, and the random choices about them. A size of s pixels means about the area of s by s.

    Args:
        batch_size: Number of clips in a batch, which all processes share.
        video_size: Size of clips in pixels: the side of a square of the same area.
        image_size: Size of images in pixels: the side of a square of the same area.
        num_frames: Number of frames of a clip, at most.
        chunk_frames: Frames that the VAE encodes at a time; frame counts are multiples of it, or 1 (default: the
            model's).
        stride: Step between the frames that are taken from a video.
        fps: Frames per second that all videos are brought to, so that motion is learnt at one speed: of each tick the
            nearest frame in time; slower videos repeat theirs (default: each video keeps its own rate, as in the
            original).
        video_repeat: How often each video occurs in an epoch, cut at another frame each time.
        buckets: Keep the aspect ratio of clips, rounded to the original's buckets, instead of cropping them to squares.
        random_ratio: Crop each batch to a random aspect ratio of the buckets.
        random_size: Give each batch a random size from `video_size` to `image_size`, in steps of 128, and not larger
            than its smallest clip.
        random_frames: Shorten a tenth of the batches of clips, by whole chunks.
        token_size: Train with a constant number of tokens: clips have at most `num_frames * token_size**2` pixels, so
            larger ones are shorter.
        mask_rule: Train inpainting with random masks, drawn by a rule that the dataset knows (default: no masks).
        empty_text_share: Share of the captions that are dropped, so that the model learns to do without.
        passes: Number of epochs that differ; later ones repeat them, which a cache needs (default: all epochs differ).
        compat: As in the original, never use rows that do not fill a batch, and no videos with a `video_repeat` of 0.
        batches: Sizes of batches in turn, each [clips, frames], for datasets without batches of their own; 1 frame
            trains on images. The other sizes have no effect there.
    """

    batch_size: Annotated[int, Range(1)] = 1
    video_size: Annotated[int, Range(16)] = 512
    image_size: Annotated[int, Range(16)] = 512
    num_frames: Annotated[int, Range(1)] = 144
    chunk_frames: Annotated[int | None, Range(1)] = None
    stride: Annotated[int, Range(1)] = 1
    fps: Annotated[float | None, Range(above=0, most=MAX_RATE)] = None
    video_repeat: Annotated[int, NOT_NEGATIVE] = 1
    buckets: bool = True
    random_ratio: bool = False
    random_size: bool = False
    random_frames: bool = False
    token_size: Annotated[int | None, Range(16)] = None
    mask_rule: str | None = None
    empty_text_share: Annotated[float, SHARE] = 0.0
    passes: Annotated[int | None, Range(1)] = None
    compat: bool = False
    batches: Annotated[tuple[tuple[int, ...], ...], Range(1)] = ((1, 16),)

    def __post_init__(self) -> None:
        """Refuse values that give no batch."""
        check_ranges(self, "data.")
        if not self.batches or any(len(batch) != 2 for batch in self.batches):  # noqa: PLR2004
            raise RequestError(
                "data.batches must be pairs [clips, frames].",
                received=self.batches,
                expected="such as [[4, 16], [8, 1]]",
            )
