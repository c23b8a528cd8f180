from collections import Counter

import numpy as np
import pytest
from easyanimate_core import RequestError
from easyanimate_core.aspect_ratio import ASPECT_RATIOS
from easyanimate_core.dataset import BatchRule
from easyanimate_core.shapes import PixelShape
from easyanimate_data.training.batch_shape import check_rule, draw_shape, limit_frames, list_sizes
from easyanimate_data.training.bucket import CROP_WEIGHTS


def make_rule(**options):
    return BatchRule(**{"chunk_frames": 8, **options})


def draw_many(rule, kind="video", *, ratio=1.0, smallest=4000, num=400):
    rng = np.random.default_rng(0)
    return Counter(draw_shape(rule, kind, ratio, smallest, rng) for _ in range(num))


def test_fixed_sizes():
    rule = make_rule(video_size=256, image_size=512, num_frames=50)
    assert draw_many(rule) == {PixelShape(48, 256, 256): 400}
    assert draw_many(rule, "image", ratio=0.57) == {PixelShape(1, 384, 672): 400}


def test_sizes_go_in_steps_from_video_to_image():
    assert list_sizes(make_rule(video_size=512, image_size=1024)) == (512, 640, 768, 896, 1024)
    assert list_sizes(make_rule(video_size=256, image_size=600)) == (256, 384, 512, 600)
    assert list_sizes(make_rule(video_size=512, image_size=512)) == (512,)
    assert list_sizes(make_rule(video_size=512, image_size=256)) == (256, 384, 512)


def test_token_budget():
    rule = make_rule(video_size=256, image_size=1024, num_frames=144, token_size=512)
    limits = {size: limit_frames(rule, size) for size in list_sizes(rule)}
    assert limits == {256: 144, 384: 144, 512: 144, 640: 88, 768: 64, 896: 40, 1024: 32}
    budget = 144 * 512**2
    for size, frames in limits.items():
        assert frames * size**2 <= budget
        assert frames == 144 or (frames + 8) * size**2 > budget


def test_a_size_without_budget_is_one_frame():
    assert limit_frames(make_rule(num_frames=8, token_size=256), 1024) == 1


def test_random_sizes_do_not_enlarge_and_keep_the_budget():
    rule = make_rule(video_size=256, image_size=1024, num_frames=144, token_size=512, random_size=True)
    assert {shape.height: shape.num_frames for shape in draw_many(rule)} == {
        size: limit_frames(rule, size) for size in list_sizes(rule)
    }
    assert {shape.height for shape in draw_many(rule, smallest=700)} == {256, 384, 512, 640}
    assert {shape.height for shape in draw_many(rule, smallest=100)} == {256}
    assert {shape.height for shape in draw_many(rule, "image")} == set(list_sizes(rule))


def test_random_ratios():
    shapes = draw_many(make_rule(random_ratio=True), num=2000)
    assert {(shape.height, shape.width) for shape in shapes} == {ASPECT_RATIOS[ratio] for ratio in CROP_WEIGHTS}


def test_random_lengths_are_whole_mostly():
    shapes = draw_many(make_rule(num_frames=32, random_frames=True), num=2000)
    counts = {shape.num_frames: count for shape, count in shapes.items()}
    assert counts.keys() == {8, 16, 24, 32}
    assert counts[32] / 2000 == pytest.approx(0.9, abs=0.03)
    assert {shape.num_frames for shape in draw_many(make_rule(random_frames=True), "image")} == {1}
    assert {shape.num_frames for shape in draw_many(make_rule(num_frames=8, random_frames=True))} == {8}


@pytest.mark.parametrize(
    "wrong",
    [{"chunk_frames": 0}, {"token_size": 0}, {"video_repeat": 0}, {"video_repeat": -1, "compat": True}],
)
def test_impossible_rules_are_refused(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(
        RequestError,
        match=rf"data.{name} (is out of range|must be at least 1)\.\n.*{value}\n  accepted: a whole number, at least",
    ):
        check_rule(make_rule(**wrong))


def test_rules_for_masks_have_names():
    check_rule(make_rule(mask_rule="v3"))
    with pytest.raises(RequestError, match=r"v5\n.*v4, v3"):
        check_rule(make_rule(mask_rule="v5"))


def test_repeating_videos_never_is_for_compat():
    check_rule(make_rule(video_repeat=0, compat=True))
