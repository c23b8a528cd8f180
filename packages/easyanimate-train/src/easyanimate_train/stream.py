"""The batches of a run in their order: resumable at any batch, shared by processes, loaded ahead by workers."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from easyanimate_core.dataset import BatchedDataset, BatchRow


@dataclass(frozen=True)
class BatchShard:
    """The part of a batch that one process takes, and the position of the batch in the run.

    Args:
        index: Number of batches before it in the run.
        epoch: Its epoch.
        number: Number of batches before it in the epoch.
        rows: Indices of the rows that this process takes.
        num_rows: Rows of the whole batch.
        descriptions: What is known of the rows of this process.
        weight: Weight of this process's mean over its rows, so that the mean over all processes is that of the batch.
    """

    index: int
    epoch: int
    number: int
    rows: tuple[int, ...]
    num_rows: int
    descriptions: tuple[BatchRow, ...]
    weight: float

    def take(self, values: torch.Tensor) -> torch.Tensor:
        """The rows of this process, of values [num_rows, ...] for the whole batch."""
        return values[list(self.rows)]


class BatchStream:
    """An endless iterator over (shard, what `load` returns for it), the same from any position it is resumed at.

    Args:
        dataset: The batches.
        load: Loads a shard of a batch; runs in the workers.
        workers: Worker processes that load batches ahead; 0 loads each when it is asked for.
        rank: Index of this process.
        num_ranks: Number of processes that share each batch.
    """

    def __init__(
        self,
        dataset: BatchedDataset,
        load: Callable[[Any, BatchShard], Any],
        *,
        workers: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._dataset, self._load, self._workers = dataset, load, workers
        self._rank, self._num_ranks = rank, num_ranks
        self._next = (0, 0, 0)

    def state_dict(self) -> dict[str, Any]:
        """The position of the next batch, for a checkpoint."""
        return dict(zip(("index", "epoch", "number"), self._next, strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the position at which the next iterators begin."""
        self._next = (int(state["index"]), int(state["epoch"]), int(state["number"]))

    def __iter__(self) -> Iterator[tuple[BatchShard, Any]]:
        """The batches from the current position on, without an end."""
        for shard, loaded in self._read():
            # Batches that workers have loaded ahead do not count as taken.
            self._next = (shard.index + 1, shard.epoch, shard.number + 1)
            yield shard, loaded

    def _read(self) -> Iterator[tuple[BatchShard, Any]]:
        shards = _LoadedShards(self._load)
        if not self._workers:
            return map(shards.__getitem__, self._plan())
        return iter(
            DataLoader(
                shards,
                sampler=_PlanSampler(self._plan),
                batch_size=None,
                num_workers=self._workers,
                collate_fn=_keep,
                worker_init_fn=_ignore_stop,
                # A generator of its own, because the loader draws a number when it starts.
                generator=torch.Generator(),
            )
        )

    def _plan(self) -> Iterator[tuple[Any, BatchShard]]:
        index, epoch, begin = self._next
        while True:
            batches = self._dataset.plan(epoch)
            if not len(batches):
                raise RequestError("The training data gives no batch.", fix="lower data.batch_size, or add clips")
            for number in range(begin, len(batches)):
                yield batches[number], self._make_shard(batches[number], index, epoch, number)
                index += 1
            epoch, begin = epoch + 1, 0

    def _make_shard(self, batch: Any, index: int, epoch: int, number: int) -> BatchShard:
        described = self._dataset.describe(batch)
        num = len(described)
        rows = tuple(range(num))[self._rank :: self._num_ranks]
        weight = len(rows) * self._num_ranks / num
        # The other processes wait for one without a row, so it computes one with weight 0.
        rows = rows or (0,)
        return BatchShard(index, epoch, number, rows, num, tuple(described[row] for row in rows), weight)


class _LoadedShards(Dataset[Any]):
    """A dataset whose "indices" are batches with their shards."""

    def __init__(self, load: Callable[[Any, BatchShard], Any]) -> None:
        self._load = load

    def __getitem__(self, planned: tuple[Any, BatchShard]) -> tuple[BatchShard, Any]:
        batch, shard = planned
        return shard, self._load(batch, shard)


class _PlanSampler:
    """Gives the workers the planned batches, anew for each iteration."""

    def __init__(self, plan: Callable[[], Iterator[Any]]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        return self._plan()


def _ignore_stop(_: int) -> None:
    """Leave Ctrl-C to the process that trains, which ends its workers: their tracebacks say nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _keep(value: Any) -> Any:
    """Collate nothing; a lambda could not be sent to a worker."""
    return value
