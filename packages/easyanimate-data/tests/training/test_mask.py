from collections import Counter

import numpy as np
import pytest
from easyanimate_data.training.mask import IMAGE_KINDS, MASK_KINDS, draw_kind, draw_mask
from hypothesis import given
from hypothesis import strategies as st

SHAPE = (16, 32, 48)


def draw(kind, seed, shape=SHAPE):
    return draw_mask(kind, shape, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("rule", "num_frames", "expected"),
    [
        ("v4", 16, (0.05, 0.3, 0.3, 0.3, 0.05)),
        ("v3", 16, (0.2, 0.2, 0.2, 0.2, 0.2)),
        ("v4", 1, (0.2, 0.8, 0, 0, 0)),
        ("v3", 1, (0.5, 0.5, 0, 0, 0)),
    ],
)
def test_shares_of_the_kinds(rule, num_frames, expected):
    rng = np.random.default_rng(0)
    counts = Counter(draw_kind(num_frames, rng, rule) for _ in range(4000))
    for kind, share in zip(MASK_KINDS, expected, strict=True):
        assert counts[kind] / 4000 == pytest.approx(share, abs=0.03), kind
        assert bool(counts[kind]) == bool(share)


def test_all():
    assert draw("all", 0).all()
    assert draw("all", 0).dtype == np.uint8


def kept_frames(mask):
    whole = mask.reshape(len(mask), -1)
    assert all(frame.all() or not frame.any() for frame in whole)
    return [index for index, frame in enumerate(whole) if not frame.any()]


def test_suffix_keeps_one_to_four_frames_in_front():
    lengths = set()
    for seed in range(40):
        kept = kept_frames(draw("suffix", seed))
        assert kept == list(range(len(kept)))
        lengths.add(len(kept))
    assert lengths == {1, 2, 3, 4}


def test_middle_keeps_one_to_four_frames_at_each_end():
    ends = set()
    for seed in range(120):
        kept = kept_frames(draw("middle", seed))
        front, back = [place for place in kept if place < 8], [place for place in kept if place >= 8]
        assert front == list(range(len(front)))
        assert back == list(range(16 - len(back), 16))
        ends.add((len(front), len(back)))
    assert ends == {(front, back) for front in range(1, 5) for back in range(1, 5)}


def find_box(frame):
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    assert frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_block_is_one_rectangle_in_all_frames():
    boxes = set()
    for seed in range(60):
        mask = draw("block", seed)
        assert (mask == mask[0]).all()
        top, bottom, left, right = find_box(mask[0])
        assert 8 <= bottom - top <= 24
        assert 12 <= right - left <= 36
        boxes.add((top, bottom, left, right))
    assert len(boxes) > 50


def test_block_in_time_is_one_rectangle_in_consecutive_frames():
    ranges = set()
    for seed in range(60):
        mask = draw("block-in-time", seed)
        shown = [index for index, frame in enumerate(mask) if frame.any()]
        assert shown == list(range(shown[0], shown[-1] + 1))
        assert len({find_box(mask[index]) for index in shown}) == 1
        ranges.add((shown[0], shown[-1]))
    assert len(ranges) > 30


@given(num_frames=st.integers(1, 40), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_something_is_left_to_be_made(num_frames, height, width, seed):
    for kind in MASK_KINDS if num_frames > 1 else IMAGE_KINDS:
        mask = draw(kind, seed, (num_frames, height, width))
        assert mask.shape == (num_frames, height, width)
        assert set(np.unique(mask).tolist()) <= {0, 255}
        assert mask.any()


def test_the_same_seed_gives_the_same_mask():
    for kind in MASK_KINDS:
        np.testing.assert_array_equal(draw(kind, 3), draw(kind, 3))
