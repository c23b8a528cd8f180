"""Puts the items of a training set into batches of one kind and one size, in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from easyanimate_data.training.batch_shape import draw_shape
from easyanimate_data.training.random_stream import Purpose, open_stream

if TYPE_CHECKING:
    from easyanimate_core.dataset import BatchRule
    from easyanimate_core.shapes import PixelShape

    from easyanimate_data.training.entry import Kind

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Which items belong together, and what is made of them.

    Args:
        variant: The epoch that decides what is random; the same one where an epoch repeats it.
        number: Index among the batches of that epoch.
        indices: The items.
        kind: Of all of them.
        shape: Frames at most, height and width.
    """

    variant: int
    number: int
    indices: tuple[int, ...]
    kind: Kind
    shape: PixelShape


class Items(NamedTuple):
    """What a plan knows of N items.

    Args:
        entries: int [N]: which entry of the list an item is.
        repeats: int [N]: how often the entry came before.
        videos: bool [N]: whether an item is a video, else an image.
        sizes: int [N, 2]: height and width in pixels.
        ratios: float [N]: the ratios that batches keep, from the table.
    """

    entries: Integers
    repeats: Integers
    videos: NDArray[np.bool_]
    sizes: Integers
    ratios: NDArray[np.float64]


class Groups(NamedTuple):
    """Items in groups: those of group g are `items[begins[g] : ends[g]]`."""

    items: Integers
    begins: Integers
    ends: Integers


@dataclass(frozen=True)
class Plan(Sequence[Batch]):
    """The batches of an epoch, each made when it is asked for.

    Args:
        items: All items.
        rule: Sizes.
        seed: Decides the order and what is random in the shapes.
        variant: The same.
        groups: Items of every batch, from `group_items`.
        order: Numbers of the batches in the order of this epoch.
    """

    items: Items
    rule: BatchRule
    seed: int
    variant: int
    groups: Groups
    order: Integers

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        """A batch, or a list of some."""
        if isinstance(index, slice):
            return [self._make(int(number)) for number in self.order[index]]
        return self._make(int(self.order[index]))

    def _make(self, number: int) -> Batch:
        groups = self.groups
        indices = groups.items[groups.begins[number] : groups.ends[number]]
        kind: Kind = "video" if self.items.videos[indices[0]] else "image"
        smallest = int(self.items.sizes[indices].prod(axis=1).min() ** 0.5) if self.rule.random_size else 0
        rng = open_stream(Purpose.BATCH, self.seed, self.variant, number)
        return Batch(
            variant=self.variant,
            number=number,
            indices=tuple(indices.tolist()),
            kind=kind,
            shape=draw_shape(self.rule, kind, float(self.items.ratios[indices[0]]), smallest, rng),
        )


def make_plan(items: Items, rule: BatchRule, *, seed: int, epoch: int) -> Plan:
    """The batches of an epoch.

    With `rule.passes` = n, epoch e has the batches of epoch e modulo n; from epoch n on in another order each time.

    Args:
        items: All items.
        rule: Sizes.
        seed: Decides everything random.
        epoch: From 0 on.
    """
    turn, variant = (0, epoch) if rule.passes is None else divmod(epoch, rule.passes)
    order = open_stream(Purpose.ORDER, seed, variant).permutation(len(items.videos))
    buckets = np.unique(items.ratios, return_inverse=True)[1] * 2 + items.videos
    groups = group_items(order, buckets[order], rule.batch_size, keep_rest=not rule.compat)
    numbers = np.arange(len(groups.begins))
    if turn:
        numbers = open_stream(Purpose.TURN, seed, epoch).permutation(numbers)
    return Plan(items, rule, seed, variant, groups, numbers)


def group_items(order: Integers, buckets: Integers, batch_size: int, *, keep_rest: bool = True) -> Groups:
    """Collect items by bucket and give a batch as soon as one is full; what is left over comes last, if at all.

    Args:
        order: int [N]: the items, as they come.
        buckets: int [N]: bucket of each.
        batch_size: Items of a batch.
        keep_rest: Give what does not fill a batch, too, in the order of first items.
    """
    # Without a loop over the items: sorted by bucket, a batch is a slice.
    by_bucket = np.argsort(buckets, kind="stable")
    _, starts, counts = np.unique(buckets[by_bucket], return_index=True, return_counts=True)
    num = -(-counts // batch_size)
    within = np.arange(num.sum()) - np.repeat(num.cumsum() - num, num)
    begins = np.repeat(starts, num) + within * batch_size
    ends = np.minimum(begins + batch_size, np.repeat(starts + counts, num))
    full = ends - begins == batch_size
    whole, rest = np.flatnonzero(full), np.flatnonzero(~full)
    whole = whole[np.argsort(by_bucket[ends[whole] - 1])]
    rest = rest[np.argsort(by_bucket[begins[rest]])] if keep_rest else rest[:0]
    chosen = np.concatenate([whole, rest])
    return Groups(order[by_bucket], begins[chosen], ends[chosen])
