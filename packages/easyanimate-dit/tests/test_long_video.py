"""Parts of long videos cover the whole, and are faded into one another."""

import itertools

import numpy as np
from easyanimate_core import ShapeRule
from easyanimate_dit.sampling.long_video import join_segments, plan_segments
from hypothesis import given
from hypothesis import strategies as st

RULE = ShapeRule(chunk_frames=8)


@given(st.integers(1, 400), st.integers(1, 12), st.data())
def test_parts_cover_the_whole_with_the_overlap(num_frames, chunks, data):
    segment_frames = chunks * 8
    overlap = data.draw(st.integers(1, segment_frames - 1))
    parts = list(plan_segments(num_frames, segment_frames, overlap, RULE))
    assert parts[0].start == 0
    for part, following in itertools.pairwise(parts):
        assert part.num_frames == segment_frames
        assert following.start == part.start + part.num_frames - overlap
        assert following.num_frames > overlap
    assert all(part.num_frames % 8 == 0 for part in parts)
    assert num_frames <= parts[-1].start + parts[-1].num_frames < num_frames + 8


def test_a_short_video_is_one_part():
    (part,) = plan_segments(16, 24, 4, RULE)
    assert (part.start, part.num_frames) == (0, 16)


def test_frames_before_the_first_chunk_count():
    parts = plan_segments(21, 9, 1, ShapeRule(chunk_frames=4, first_frames=1))
    assert [(part.start, part.num_frames) for part in parts] == [(0, 9), (8, 9), (16, 5)]


def test_the_overlap_passes_linearly_from_old_to_new():
    old = np.full((6, 2, 2, 3), 100, np.uint8)
    new = np.full((8, 2, 2, 3), 200, np.uint8)
    joined = join_segments(old, new, 4)
    assert joined.shape == (10, 2, 2, 3)
    assert joined.dtype == np.uint8
    assert joined[:, 0, 0, 0].tolist() == [100, 100, 100, 125, 150, 175, 200, 200, 200, 200]
