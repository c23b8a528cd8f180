import numpy as np
import pytest
from easyanimate_data.shapes.caption import Combination
from easyanimate_data.shapes.clip import COMBINATIONS, render_clip
from easyanimate_data.shapes.judge import judge_clip


def blur(clip, sigma):
    radius = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    result = clip.astype(np.float32)
    for axis in (1, 2):
        margin = [(0, 0)] * 4
        margin[axis] = (radius, radius)
        padded = np.pad(result, margin, mode="edge")
        length = clip.shape[axis]
        result = sum(weight * padded.take(range(shift, shift + length), axis) for shift, weight in enumerate(kernel))
    return result


def degrade(clip, sigma, noise, rng):
    result = blur(clip, sigma) if sigma else clip.astype(np.float32)
    return np.clip(result + rng.normal(0, noise, clip.shape) if noise else result, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("sigma", "noise"), [(0, 0), (1.5, 0), (2.5, 0), (0, 15), (1.5, 8)])
def test_every_combination_is_read(sigma, noise):
    rng = np.random.default_rng(11)
    for combination in COMBINATIONS:
        clip = degrade(render_clip(combination, rng=rng), sigma, noise, rng)
        verdict = judge_clip(clip)
        assert verdict.agrees(combination), (combination, verdict)
        assert verdict.style == "filled"


@pytest.mark.parametrize(("sigma", "noise"), [(0, 0), (1.0, 0), (0, 15), (1.5, 8)])
def test_every_combination_is_read_from_its_contour(sigma, noise):
    rng = np.random.default_rng(11)
    for combination in COMBINATIONS:
        clip = degrade(render_clip(combination, rng=rng, style="outlined"), sigma, noise, rng)
        verdict = judge_clip(clip)
        assert verdict.agrees(combination), (combination, verdict)
        assert verdict.style == "outlined"


def test_other_sizes():
    rng = np.random.default_rng(2)
    for combination in COMBINATIONS[::7]:
        assert judge_clip(render_clip(combination, rng=rng, height=96, width=160, num_frames=9)).agrees(combination)


@pytest.mark.parametrize("shift", [12, -12])
def test_shape_that_leaves_or_enters_the_frame(shift):
    rng = np.random.default_rng(4)
    for combination in COMBINATIONS:
        clip = render_clip(combination, rng=rng)
        axis = 2 if combination.direction in {"left", "right"} else 1
        margin = [(0, 0)] * 4
        margin[axis] = (12, 12)
        along = shift if combination.direction in {"right", "down"} else -shift
        moved = np.pad(clip, margin, mode="edge").take(range(12 - along, 76 - along), axis)
        verdict = judge_clip(moved)
        assert verdict.agrees(combination), (combination, verdict)


def test_still_shapes_have_no_direction():
    clip = render_clip(Combination("circle", "red", "left"), rng=np.random.default_rng(0))
    verdict = judge_clip(np.repeat(clip[:1], 16, axis=0))
    assert (verdict.shape, verdict.colour, verdict.direction) == ("circle", "red", None)


def test_turning_back_is_no_direction():
    clip = render_clip(Combination("circle", "red", "left"), rng=np.random.default_rng(0))
    assert judge_clip(np.concatenate([clip, clip[::-1], clip])).direction is None


def test_diagonal_is_no_direction():
    clip = render_clip(Combination("square", "red", "right"), rng=np.random.default_rng(0))
    slanted = np.stack([np.roll(frame, index - 8, axis=0) for index, frame in enumerate(clip)])
    assert judge_clip(slanted).direction is None


def test_one_frame_has_no_direction():
    clip = render_clip(Combination("square", "yellow", "left"), rng=np.random.default_rng(0), num_frames=1)
    verdict = judge_clip(clip)
    assert (verdict.shape, verdict.colour, verdict.direction) == ("square", "yellow", None)


@pytest.mark.parametrize("level", [0, 20, 255])
def test_empty_clips_show_nothing(level):
    clip = np.full((16, 64, 64, 3), level, dtype=np.uint8)
    noisy = np.clip(clip + np.random.default_rng(0).normal(0, 8, clip.shape), 0, 255).astype(np.uint8)
    for frames in (clip, noisy):
        verdict = judge_clip(frames)
        assert (verdict.shape, verdict.colour, verdict.direction, verdict.style) == (None,) * 4


def test_pure_noise_is_no_combination():
    frames = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    verdict = judge_clip(frames)
    assert not any(verdict.agrees(combination) for combination in COMBINATIONS)


def test_shape_in_few_frames_is_nothing():
    clip = render_clip(Combination("circle", "red", "left"), rng=np.random.default_rng(0))
    clip[8:] = clip[0, 0, 0]
    assert judge_clip(clip).shape is None


def test_confidence_counts_frames():
    rng = np.random.default_rng(0)
    clip = render_clip(Combination("circle", "red", "left"), rng=rng)
    assert judge_clip(clip).colour_confidence == 1
    clip[12:] = render_clip(Combination("circle", "blue", "left"), rng=rng)[12:]
    verdict = judge_clip(clip)
    assert verdict.colour == "red"
    assert verdict.colour_confidence == 0.75
