import json
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import MediaError
from easyanimate_data.training.clip_range import find_range
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "buckets.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN["frame_sampling_cases"])
def test_frame_sampling_cases(case):
    arguments = case["video_frames"], case["sample_n_frames"], case["stride"]
    if "error" in case:
        with pytest.raises(MediaError, match="too short"):
            find_range(*arguments)
        return
    found = find_range(*arguments)
    assert case["start_range_valid"]
    assert found.num_frames == case["n_sampled"]
    assert found.length == case["clip_length"]
    assert (found.first, found.last) == (case["start_min"], case["start_max"])
    assert found.last + found.length == case["usable_length"]
    assert found.indices(found.first) == case["indices_at_start_min"]


@given(total=st.integers(2, 2000), num_frames=st.integers(1, 200), stride=st.integers(1, 8), seed=st.integers(0, 9))
def test_every_clip_lies_in_the_video(total, num_frames, stride, seed):
    indices = find_range(total, num_frames, stride).draw(np.random.default_rng(seed))
    assert 1 <= len(indices) <= num_frames
    assert indices == sorted(indices)
    assert 0 <= indices[0] <= indices[-1] < max(0.9 * total, 1)


def test_where_the_original_finds_no_place_the_clip_begins_as_late_as_it_can():
    found = find_range(60, 14, 4)  # 53 of the 54 usable frames: the start would be in 5 to 1
    assert (found.first, found.last) == (1, 1)


def test_every_start_occurs():
    found = find_range(200, 144)
    rng = np.random.default_rng(0)
    assert {found.draw(rng)[0] for _ in range(400)} == set(range(18, 37))
