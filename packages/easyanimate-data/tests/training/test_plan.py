import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.dataset import BatchRule
from easyanimate_data.training.bucket import find_ratios
from easyanimate_data.training.plan import Items, group_items, make_plan
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "buckets.json").read_text(encoding="utf-8"))


def nearest_ratio(height, width):
    return float(find_ratios(np.array([[height, width]]))[0])


def make_items(items):
    """Items of these kinds, heights and widths."""
    sizes = np.array([(height, width) for _, height, width in items])
    videos = np.array([kind == "video" for kind, _, _ in items])
    return Items(np.arange(len(items)), np.zeros(len(items), int), videos, sizes, find_ratios(sizes))


SIZES = [(720, 1280), (1280, 720), (512, 512), (480, 640)]
ITEMS = make_items([("video" if number % 3 else "image", *SIZES[number % 4]) for number in range(101)])
RULE = {"video_size": 256, "image_size": 512, "num_frames": 16, "chunk_frames": 8, "batch_size": 4}
RANDOM = {"random_size": True, "random_frames": True}


def plan(epoch=0, *, items=ITEMS, seed=3, **options):
    return make_plan(items, BatchRule(**{**RULE, **RANDOM, **options}), seed=seed, epoch=epoch)


def unpack(groups):
    return [groups.items[begin:end].tolist() for begin, end in zip(groups.begins, groups.ends, strict=True)]


def group(order, buckets, batch_size, *, keep_rest=True):
    """What `group_items` does, item by item, as the original's sampler."""
    waiting = {}
    for index, bucket in zip(order, buckets, strict=True):
        batch = waiting.setdefault(bucket, [])
        batch.append(index)
        if len(batch) == batch_size:
            yield waiting.pop(bucket)
    if keep_rest:
        yield from waiting.values()


@pytest.mark.parametrize("case", GOLDEN["batch_sampler_cases"])
def test_batch_sampler_cases(case):
    items = make_items(case["items"])
    buckets = (items.ratios * 100).round().astype(int) * 2 + items.videos
    order = np.array(case["visit_order"])
    groups = group_items(order, buckets[order], case["batch_size"], keep_rest=False)
    assert unpack(groups) == case["batches"]


@given(
    buckets=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    batch_size=st.integers(1, 6),
    keep_rest=st.booleans(),
    seed=st.integers(0, 9),
)
def test_groups_are_those_of_collecting_item_by_item(buckets, batch_size, keep_rest, seed):
    order = np.random.default_rng(seed).permutation(len(buckets))
    groups = group_items(order, np.array(buckets), batch_size, keep_rest=keep_rest)
    assert unpack(groups) == list(group(order.tolist(), buckets, batch_size, keep_rest=keep_rest))


def test_every_item_occurs_once_and_batches_are_alike():
    batches = list(plan())
    assert sorted(index for batch in batches for index in batch.indices) == list(range(101))
    assert [batch.number for batch in batches] == list(range(len(batches)))
    for batch in batches:
        assert {"video" if ITEMS.videos[index] else "image" for index in batch.indices} == {batch.kind}
        (ratio,) = {nearest_ratio(*ITEMS.sizes[index]) for index in batch.indices}
        assert nearest_ratio(batch.shape.height, batch.shape.width) == ratio
        assert (batch.shape.num_frames == 1) == (batch.kind == "image")


def test_what_does_not_fill_a_batch_comes_last_or_with_compat_never():
    batches = list(plan())
    sizes = [len(batch.indices) for batch in batches]
    first_small = next(place for place, size in enumerate(sizes) if size < 4)
    assert 0 < first_small < len(sizes)
    assert all(size < 4 for size in sizes[first_small:])
    assert list(plan(compat=True)) == batches[:first_small]


def test_the_seed_and_the_epoch_decide_the_order():
    assert list(plan()) == list(plan())
    orders = {
        tuple(index for batch in batches for index in batch.indices)
        for batches in (plan(), plan(seed=4), plan(1), plan(3, seed=0))
    }
    assert len(orders) == 4


def test_any_batch_can_be_asked_for_alone():
    whole = list(plan(2))
    assert plan(2)[5:9] == whole[5:9]
    assert plan(2)[-1] == whole[-1]
    assert pickle.loads(pickle.dumps(whole[4])) == plan(2)[4]  # noqa: S301 (made above)
    with pytest.raises(IndexError):
        plan(2)[len(whole)]


def test_passes_repeat_the_batches_in_other_orders():
    epochs = [list(plan(epoch, passes=2)) for epoch in range(6)]
    assert epochs[:2] == [list(plan(0)), list(plan(1))]
    for variant in range(2):
        first, *later = epochs[variant::2]
        assert {batch.variant for batch in first} == {variant}
        for batches in later:
            assert batches != first
            assert sorted(batches, key=lambda batch: batch.number) == first
        assert later[0] != later[1]


def test_without_buckets_all_are_squares():
    items = make_items([("video", 720, 1280)] * 20)._replace(ratios=np.ones(20))
    shapes = {batch.shape for batch in plan(items=items, random_size=False)}
    assert {(shape.height, shape.width) for shape in shapes} == {(256, 256)}


def test_random_sizes_do_not_enlarge_the_smallest_of_a_batch():
    items = make_items([("image", side, side) for side in range(200, 600)])
    for batch in plan(items=items):
        smallest = min(items.sizes[index][0] for index in batch.indices)
        assert batch.shape.height <= max(smallest, 256)


def test_a_million_items_are_planned():
    """In a second; were the work quadratic, this would not end."""
    num = 1_000_000
    rng = np.random.default_rng(0)
    sizes = rng.integers(200, 2000, (num, 2))
    items = Items(np.arange(num), np.zeros(num, int), rng.random(num) < 0.8, sizes, find_ratios(sizes))
    batches = plan(5, items=items, passes=2)
    assert len(batches[len(batches) // 2].indices) == 4
