"""Batches of a dataset that has single items only: generated shapes clips, and datasets of plugins.

Axes: B rows, T frames, H height, W width; pixels are uint8 [B, T, H, W, 3].
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from easyanimate_core.dataset import MASK_RULES, BatchRow
from easyanimate_core.errors import RequestError, near_misses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_core.dataset import BatchRule, TrainingBatch, VideoDataset


class _Draw(NamedTuple):
    """The random choices of a batch; every list has an entry per row.

    Args:
        num_frames: Frames of each clip.
        indices: Items of the dataset.
        offsets: Where the clip begins, as a share of the frames to spare; None where the item decides.
        empty: Whether the caption is dropped.
    """

    num_frames: int
    indices: list[int]
    offsets: list[float] | None
    empty: list[bool]


class CycledBatches:
    """Batches of the sizes in `rule.batches`, in turn, of random items; batch n is a function of the seed and n.

    Args:
        dataset: The items.
        rule: Gives `batches`, `empty_text_share` and `passes`; with passes, an item is always cut at the same frame.
        seed: Seed of all random choices.

    Raises:
        RequestError: There is no such rule for masks.
    """

    def __init__(self, dataset: VideoDataset, rule: BatchRule, *, seed: int) -> None:
        if rule.mask_rule not in (None, *MASK_RULES):
            raise RequestError(
                "There is no such mask_rule.",
                received=rule.mask_rule,
                expected=", ".join(MASK_RULES),
                fix=near_misses(rule.mask_rule, MASK_RULES),
            )
        self._dataset, self._rule, self._seed = dataset, rule, seed
        # The repr of a dataclass shows everything that its items depend on.
        self._name = repr(dataset) if is_dataclass(dataset) else ""

    def plan(self, epoch: int, /) -> Sequence[int]:
        """Numbers of the batches of an epoch, which is one turn through `rule.batches`."""
        num = len(self._rule.batches)
        return range(epoch * num, (epoch + 1) * num)

    def describe(self, batch: int, /) -> Sequence[BatchRow]:
        """The rows of a batch; see `BatchedDataset`."""
        draw = self._draw(batch)
        return [
            BatchRow(
                seed=(self._seed, index),
                identity=f"{self._name} {index} {draw.num_frames}" if self._name and draw.offsets is None else "",
                empty_text=empty,
            )
            for index, empty in zip(draw.indices, draw.empty, strict=True)
        ]

    def load(self, batch: int, rows: Sequence[int], /) -> TrainingBatch:
        """Read some rows of a batch; see `BatchedDataset`.

        Raises:
            RequestError: An item has fewer frames than the batch.
        """
        draw = self._draw(batch)
        clips: list[Any] = []
        texts: list[str] = []
        for row in rows:
            index = draw.indices[row]
            item = self._dataset[index]
            frames = np.asarray(item["frames"])
            spare = len(frames) - draw.num_frames
            if spare < 0:
                raise RequestError(
                    "A clip of the dataset is shorter than its batch.",
                    received=f"item {index}: {len(frames)} frames",
                    expected=f"{draw.num_frames} frames, as data.batches says",
                )
            if draw.offsets is None:
                start = int(np.random.default_rng((self._seed, index)).integers(spare + 1))
            else:
                start = int(draw.offsets[row] * (spare + 1))
            clips.append(frames[start : start + draw.num_frames])
            texts.append(item["text"])
        return {"frames": np.stack(clips), "text": texts, "bad": []}

    def _draw(self, batch: int) -> _Draw:
        rule = self._rule
        num, num_frames = rule.batches[batch % len(rule.batches)]
        rng = np.random.default_rng((self._seed, batch))
        indices = rng.integers(len(self._dataset), size=num).tolist()
        offsets = rng.random(num).tolist() if rule.passes is None else None
        empty = rng.random(num) < rule.empty_text_share
        return _Draw(num_frames, indices, offsets, empty.tolist())
