import json
from itertools import islice
from pathlib import Path

import pytest
from easyanimate_core import RequestError
from easyanimate_data.training.bucket import nearest_ratio
from easyanimate_data.training.sampler import BatchSampler, group_items
from easyanimate_data.training.size_rule import SizeRule

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "buckets.json").read_text(encoding="utf-8"))


class Items:
    """Items of known kinds and sizes; remembers whose size was asked for."""

    def __init__(self, items):
        self.kinds = [kind for kind, _, _ in items]
        self.sizes = [(height, width) for _, height, width in items]
        self.asked = set()

    def find_size(self, index):
        self.asked.add(index)
        return self.sizes[index]


SIZES = [(720, 1280), (1280, 720), (512, 512), (480, 640)]
ITEMS = Items([("video" if number % 3 else "image", *SIZES[number % 4]) for number in range(101)])
RULE = SizeRule(video_size=256, image_size=512, num_frames=16, random_size=True, random_frames=True)


def open_sampler(**options):
    return BatchSampler(**{"items": ITEMS, "rule": RULE, "batch_size": 4, "seed": 3, **options})


@pytest.mark.parametrize("case", GOLDEN["batch_sampler_cases"])
def test_batch_sampler_cases(case):
    def find_bucket(index):
        kind, height, width = case["items"][index]
        return kind, nearest_ratio(height, width)

    batches = group_items(case["visit_order"], find_bucket, case["batch_size"], keep_rest=False)
    assert list(batches) == case["batches"]


def test_every_item_occurs_once_and_batches_are_alike():
    batches = list(open_sampler())
    assert sorted(index for batch in batches for index in batch.indices) == list(range(101))
    assert [batch.number for batch in batches] == list(range(len(batches)))
    for batch in batches:
        assert {ITEMS.kinds[index] for index in batch.indices} == {batch.kind}
        (ratio,) = {nearest_ratio(*ITEMS.sizes[index]) for index in batch.indices}
        assert nearest_ratio(batch.shape.height, batch.shape.width) == ratio
        assert (batch.shape.num_frames == 1) == (batch.kind == "image")


def test_what_does_not_fill_a_batch_comes_last_or_with_compat_never():
    batches = list(open_sampler())
    sizes = [len(batch.indices) for batch in batches]
    first_small = next(place for place, size in enumerate(sizes) if size < 4)
    assert 0 < first_small < len(sizes)
    assert all(size < 4 for size in sizes[first_small:])
    assert list(open_sampler(compat=True)) == batches[:first_small]


def test_the_seed_and_the_epoch_decide_the_order():
    assert list(open_sampler()) == list(open_sampler())
    orders = {
        tuple(index for batch in sampler for index in batch.indices)
        for sampler in (open_sampler(), open_sampler(seed=4), open_sampler().at(1), open_sampler(seed=0, epoch=3))
    }
    assert len(orders) == 4


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_a_resumed_run_sees_exactly_the_batches_that_are_left(num_ranks):
    for rank in range(num_ranks):
        whole = list(open_sampler(rank=rank, num_ranks=num_ranks, epoch=2))
        for start in range(len(whole) + 2):
            assert list(open_sampler(rank=rank, num_ranks=num_ranks).at(2, start)) == whole[start:]


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 7])
def test_processes_share_the_batches_of_one(num_ranks):
    alone = list(open_sampler())
    shares = [list(open_sampler(rank=rank, num_ranks=num_ranks)) for rank in range(num_ranks)]
    assert {len(share) for share in shares} == {len(alone) // num_ranks}
    dealt = sorted((batch for share in shares for batch in share), key=lambda batch: batch.number)
    assert dealt == alone[: len(alone) // num_ranks * num_ranks]
    indices = [index for batch in dealt for index in batch.indices]
    assert len(indices) == len(set(indices))


def test_files_are_looked_at_only_as_far_as_batches_are_wanted():
    items = Items([("video", 512, 512)] * 1000)
    list(islice(open_sampler(items=items), 3))
    assert len(items.asked) == 12


def test_without_buckets_nothing_is_looked_at():
    items = Items([("video", 720, 1280)] * 20)
    rule = SizeRule(video_size=256, num_frames=16, buckets=False)
    batches = list(open_sampler(items=items, rule=rule))
    assert not items.asked
    assert {(batch.shape.height, batch.shape.width) for batch in batches} == {(256, 256)}


def test_random_sizes_do_not_enlarge_the_smallest_of_a_batch():
    items = Items([("image", side, side) for side in range(200, 600)])
    for batch in open_sampler(items=items):
        smallest = min(items.sizes[index][0] for index in batch.indices)
        assert batch.shape.height <= max(smallest, 256)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"rank": 2, "num_ranks": 2}, {"rank": -1}, {"start": -1}])
def test_impossible_samplers_are_refused(wrong):
    with pytest.raises(RequestError, match="gives no batches"):
        open_sampler(**wrong)
