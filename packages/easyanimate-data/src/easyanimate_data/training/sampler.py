"""Puts the items of a training set into batches of one kind and one size, in an order that a seed decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from easyanimate_core.errors import RequestError

from easyanimate_data.training.bucket import nearest_ratio
from easyanimate_data.training.random_stream import Purpose, open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from easyanimate_core.shapes import PixelShape

    from easyanimate_data.training.entry import Kind
    from easyanimate_data.training.size_rule import SizeRule


class SizedItems(Protocol):
    """What a sampler knows of a training set."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """Of every item."""
        ...

    def find_size(self, index: int) -> tuple[int, int]:
        """Height and width of an item, in pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Which items belong together, and what is made of them.

    Args:
        epoch: Times that the set was gone through before.
        number: Place among the batches of the epoch, those of all processes.
        indices: The items.
        kind: Of all of them.
        shape: Frames at most, height and width.
        chunk_frames: Frames are a multiple of this, or 1.
    """

    epoch: int
    number: int
    indices: tuple[int, ...]
    kind: Kind
    shape: PixelShape
    chunk_frames: int


@dataclass(frozen=True, kw_only=True)
class BatchSampler:
    """The batches of one epoch, in turn; each process sees its own.

    A batch is a function of the seed, the epoch and its number, and going through an epoch again from `start` gives
    exactly the batches that are left. All processes get equally many batches, so that none waits for another: where the
    number of batches is no multiple of theirs, the last few are left out.

    A sampler is a `sampler` for torch's `DataLoader` with `batch_size=None`. Where every worker goes through a sampler
    of its own instead, worker w of n in process r takes the rank `r * n + w` of `num_ranks * n`.

    Args:
        items: The training set.
        rule: Chooses the shape of a batch.
        batch_size: Items of a batch.
        seed: Decides the order and what is random in the shapes.
        epoch: Times that the set was gone through before; each has another order.
        start: Batches of this process to leave out, because a run has seen them.
        rank: Of this process.
        num_ranks: Processes.
        compat: As the original, never give what does not fill a batch. Else such batches come last, smaller.
    """

    items: SizedItems
    rule: SizeRule
    batch_size: int = 1
    seed: int = 0
    epoch: int = 0
    start: int = 0
    rank: int = 0
    num_ranks: int = 1
    compat: bool = False

    def __post_init__(self) -> None:
        """Refuse what gives no batches."""
        if self.batch_size < 1 or self.start < 0 or not 0 <= self.rank < self.num_ranks:
            raise RequestError(
                "This sampler gives no batches.",
                received=f"batch_size {self.batch_size}, start {self.start}, rank {self.rank} of {self.num_ranks}",
                expected="batch_size >= 1, start >= 0, 0 <= rank < num_ranks",
            )

    def at(self, epoch: int, start: int = 0) -> BatchSampler:
        """The same sampler at another place."""
        return replace(self, epoch=epoch, start=start)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of this process from `start` on."""
        order = open_stream(Purpose.ORDER, self.seed, self.epoch).permutation(len(self.items.kinds)).tolist()
        batches = enumerate(group_items(order, self._find_bucket, self.batch_size, keep_rest=not self.compat))
        # As many iterators as processes, all the same one: zip deals the batches out and drops an incomplete round.
        for place, dealt in enumerate(zip(*[batches] * self.num_ranks, strict=False)):
            if place >= self.start:
                yield self._plan(*dealt[self.rank])

    def _find_bucket(self, index: int) -> tuple[Kind, float]:
        ratio = nearest_ratio(*self.items.find_size(index)) if self.rule.buckets else 1.0
        return self.items.kinds[index], ratio

    def _plan(self, number: int, indices: list[int]) -> Batch:
        kind, ratio = self._find_bucket(indices[0])
        smallest = 0
        if self.rule.random_size:
            sizes = [self.items.find_size(index) for index in indices]
            smallest = int(min(height * width for height, width in sizes) ** 0.5)
        rng = open_stream(Purpose.BATCH, self.seed, self.epoch, number)
        return Batch(
            epoch=self.epoch,
            number=number,
            indices=tuple(indices),
            kind=kind,
            shape=self.rule.draw(kind, ratio, smallest, rng),
            chunk_frames=self.rule.chunk_frames,
        )


def group_items(
    order: Iterable[int], find_bucket: Callable[[int], Hashable], batch_size: int, *, keep_rest: bool = True
) -> Iterator[list[int]]:
    """Collect items by bucket and give a batch as soon as one is full; what is left over comes last, if at all."""
    waiting: dict[Hashable, list[int]] = {}
    for index in order:
        bucket = find_bucket(index)
        batch = waiting.setdefault(bucket, [])
        batch.append(index)
        if len(batch) == batch_size:
            yield waiting.pop(bucket)
    if keep_rest:
        yield from waiting.values()
