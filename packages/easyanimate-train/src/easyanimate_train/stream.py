"""The batches of a run, one after the other: from any place on, each process its rows, read ahead by workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from easyanimate_core.dataset import BatchedDataset, BatchRow


@dataclass(frozen=True)
class Place:
    """Where a batch is in a run, and what of it a process takes.

    Args:
        index: Batches before it.
        epoch: The epoch it is in.
        number: Batches before it in the epoch.
        rows: Rows that this process takes.
        num_rows: Rows of the whole batch.
        described: The rows of this process.
        share: How much the mean over these rows counts, so that the mean over all processes is that of the whole batch.
    """

    index: int
    epoch: int
    number: int
    rows: tuple[int, ...]
    num_rows: int
    described: tuple[BatchRow, ...]
    share: float

    def take(self, values: torch.Tensor) -> torch.Tensor:
        """Of values that were drawn for the whole batch, those of this process."""
        return values[list(self.rows)]


class BatchStream:
    """An endless iterator over (place, what `load` makes of the batch); everybody who starts at a place sees the same.

    Args:
        dataset: The batches.
        load: Reads what a process takes of a batch; runs in the workers.
        workers: Processes that read ahead; 0 reads when asked.
        rank: Of this process.
        num_ranks: Processes that share each batch.
    """

    def __init__(
        self,
        dataset: BatchedDataset,
        load: Callable[[Any, Place], Any],
        *,
        workers: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._dataset, self._load, self._workers = dataset, load, workers
        self._rank, self._num_ranks = rank, num_ranks
        self._next = (0, 0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, for a checkpoint."""
        return dict(zip(("index", "epoch", "number"), self._next, strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, for everybody who begins to iterate afterwards."""
        self._next = (int(state["index"]), int(state["epoch"]), int(state["number"]))

    def __iter__(self) -> Iterator[tuple[Place, Any]]:
        """The batches that are left, without an end."""
        for place, loaded in self._read():
            # What workers have read ahead was not seen yet.
            self._next = (place.index + 1, place.epoch, place.number + 1)
            yield place, loaded

    def _read(self) -> Iterator[tuple[Place, Any]]:
        jobs = _Jobs(self._load)
        if not self._workers:
            return map(jobs.__getitem__, self._plan())
        return iter(
            DataLoader(
                jobs,
                sampler=_Planned(self._plan),
                batch_size=None,
                num_workers=self._workers,
                collate_fn=_same,
                # Its own, because the loader draws a number when it starts.
                generator=torch.Generator(),
            )
        )

    def _plan(self) -> Iterator[tuple[Any, Place]]:
        index, epoch, begin = self._next
        while True:
            batches = self._dataset.plan(epoch)
            if not len(batches):
                raise RequestError("The training data gives no batch.", fix="lower data.batch_size, or add clips")
            for number in range(begin, len(batches)):
                yield batches[number], self._place(batches[number], index, epoch, number)
                index += 1
            epoch, begin = epoch + 1, 0

    def _place(self, batch: Any, index: int, epoch: int, number: int) -> Place:
        described = self._dataset.describe(batch)
        num = len(described)
        rows = tuple(range(num))[self._rank :: self._num_ranks]
        share = len(rows) * self._num_ranks / num
        rows = rows or (0,)  # a process without a row computes one that counts nothing, because the others wait for it
        return Place(index, epoch, number, rows, num, tuple(described[row] for row in rows), share)


class _Jobs(Dataset[Any]):
    """What a worker does."""

    def __init__(self, load: Callable[[Any, Place], Any]) -> None:
        self._load = load

    def __getitem__(self, job: tuple[Any, Place]) -> tuple[Place, Any]:
        return job[1], self._load(*job)


class _Planned:
    """What the workers are given to do, anew for each iteration."""

    def __init__(self, plan: Callable[[], Iterator[Any]]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        return self._plan()


def _same(value: Any) -> Any:
    """Leave what was read as it is; a lambda could not be sent to a worker."""
    return value
