"""The batches of a run: the same from any position, each process its rows."""

from itertools import islice

import numpy as np
import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_core.dataset import BatchRow
from easyanimate_train.config import DataConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_train.stream import BatchStream


class Counted:
    """Epochs of 3, 2, 3, 2, ... batches of 3 rows."""

    def plan(self, epoch):
        return [f"{epoch}.{number}" for number in range(3 - epoch % 2)]

    def describe(self, batch):
        return [BatchRow((row,), f"{batch} {row}") for row in range(3)]

    def load(self, batch, rows):
        return {
            "frames": np.zeros((len(rows), 1, 1, 1, 3), np.uint8),
            "text": [f"{batch} {row}" for row in rows],
            "bad": [],
        }


def take(stream, num):
    return [(shard.index, shard.epoch, shard.number, loaded["text"]) for shard, loaded in islice(stream, num)]


def make(**options):
    dataset = Counted()
    return BatchStream(dataset, Loader(dataset), **options)


class Loader:
    def __init__(self, dataset):
        self.dataset = dataset

    def __call__(self, batch, shard):
        return self.dataset.load(batch, shard.rows)


def test_epochs_follow_one_another():
    assert [entry[:3] for entry in take(make(), 6)] == [
        (0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1), (5, 2, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("used", [1, 3, 4])
def test_a_stream_goes_on_after_what_was_used(workers, used):
    whole = take(make(), 8)
    first = make(workers=workers)
    assert take(first, used) == whole[:used]
    second = make(workers=workers)
    second.load_state_dict(first.state_dict())
    assert take(second, 4) == whole[used : used + 4]


def test_processes_share_the_rows_and_count_as_one():
    shards = [next(iter(make(rank=rank, num_ranks=2)))[0] for rank in range(2)]
    assert [shard.rows for shard in shards] == [(0, 2), (1,)]
    # The mean of both means, weighted so, is the mean of all rows.
    values = torch.tensor([1.0, 10.0, 4.0])
    assert sum(shard.weight * float(shard.take(values).mean()) for shard in shards) / 2 == pytest.approx(5.0)


def test_a_process_without_a_row_counts_nothing():
    shard, loaded = next(iter(make(rank=3, num_ranks=4)))
    assert (shard.rows, shard.weight, loaded["text"]) == ((0,), 0.0, ["0.0 0"])


def test_no_batches_are_an_error():
    class Empty(Counted):
        def plan(self, _):
            return []

    with pytest.raises(RequestError, match="no batch"):
        next(iter(BatchStream(Empty(), Loader(Empty()))))


def test_cycled_batches_are_cut_at_a_place_of_their_own_or_of_the_item(clips):
    for passes in (None, 1):
        batches = CycledBatches(clips, DataConfig(batches=((4, 3),), passes=passes), seed=1)
        rows = batches.describe(5)
        assert all(bool(row.identity) == (passes == 1) for row in rows)
        whole, some = batches.load(5, range(4)), batches.load(5, [1, 3])
        assert whole["frames"].shape == (4, 3, 4, 4, 3)
        assert np.array_equal(whole["frames"][[1, 3]], some["frames"])
        assert some["text"] == [whole["text"][1], whole["text"][3]]


def test_an_item_that_is_too_short_is_told(clips):
    batches = CycledBatches(clips, DataConfig(batches=((1, 9),)), seed=0)
    with pytest.raises(RequestError, match="shorter than its batch"):
        batches.load(0, [0])
