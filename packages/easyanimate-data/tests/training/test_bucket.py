import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.aspect_ratio import ASPECT_RATIOS, scale_bucket
from easyanimate_data.training.bucket import (
    CROP_WEIGHTS,
    cover,
    draw_ratio,
    find_ratios,
    fit_size,
    keep_frames,
)
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "buckets.json").read_text(encoding="utf-8"))


def nearest_ratio(height, width):
    return float(find_ratios(np.array([[height, width]]))[0])


def test_tables_are_the_originals():
    assert {str(ratio): [*map(float, size)] for ratio, size in ASPECT_RATIOS.items()} == GOLDEN["aspect_ratios_512"]
    assert list(map(str, ASPECT_RATIOS)) == list(GOLDEN["aspect_ratios_512"])
    crops = {str(ratio): [*map(float, ASPECT_RATIOS[ratio])] for ratio in CROP_WEIGHTS}
    assert crops == GOLDEN["random_crop_aspect_ratios_512"]
    weights = np.array(list(CROP_WEIGHTS.values()))
    assert (weights / weights.sum()).tolist() == GOLDEN["random_crop_probabilities"]


@pytest.mark.parametrize("case", GOLDEN["bucket_cases"])
def test_bucket_cases(case):
    ratio = nearest_ratio(case["height"], case["width"])
    bucket = scale_bucket(ratio, case["base_size"])
    fit = fit_size(case["height"], case["width"], bucket)
    assert ratio == case["bucket_ratio"]
    assert list(bucket) == case["bucket"]
    assert list(fit.scaled) == case["resize_to"]
    assert (fit.top, fit.left) == (case["crop_top"], case["crop_left"])
    assert keep_frames(case["frames_in"], case["frame_interval"], case["max_frames"]) == case["frames_kept"]


@pytest.mark.parametrize("case", GOLDEN["random_crop_cases"])
def test_random_crop_cases(case):
    target = scale_bucket(float(case["ratio_key"]), case["base_size"])
    fit = fit_size(case["height"], case["width"], target)
    assert list(target) == case["target"]
    assert list(fit.scaled) == case["resize_to"]
    assert (fit.top, fit.left) == (case["crop_top"], case["crop_left"])


def test_drawn_ratios_follow_the_weights():
    rng = np.random.default_rng(0)
    counts = Counter(draw_ratio(rng) for _ in range(3100))
    assert counts.keys() <= CROP_WEIGHTS.keys()
    for ratio, weight in CROP_WEIGHTS.items():
        assert counts[ratio] == pytest.approx(50 * weight, abs=5 * (50 * weight) ** 0.5)


@given(height=st.integers(16, 4000), width=st.integers(16, 4000), size=st.integers(64, 1536))
def test_a_bucket_is_covered(height, width, size):
    target = scale_bucket(nearest_ratio(height, width), size)
    scaled, top, left = fit_size(height, width, target)
    assert all(side % 16 == 0 for side in target)
    assert scaled[0] == target[0] or scaled[1] == target[1]
    assert 0 <= top <= scaled[0] - target[0]
    assert 0 <= left <= scaled[1] - target[1]


def test_a_tie_goes_to_the_first_in_the_table():
    assert nearest_ratio(1875, 1000) == 1.75  # 2.0 is as near


@pytest.mark.parametrize("size", [(48, 48), (64, 128), (200, 30), (64, 96), (33, 50)])
def test_cover_keeps_the_middle(size):
    frame = np.zeros((64, 96, 3), dtype=np.uint8)
    frame[24:40, 40:56] = 255
    covered = cover(frame, *size)
    assert covered.shape == (*size, 3)
    weights = covered[..., 0].astype(float)
    for axis, length in enumerate(size):
        centre = weights.sum(axis=1 - axis) @ (np.arange(length) + 0.5) / weights.sum()
        assert centre == pytest.approx(length / 2, abs=0.6)
