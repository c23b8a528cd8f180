import dataclasses

import numpy as np
import pytest
from easyanimate_core import ModelSpec, RequestError, Task, TrainedRange, Video, VideoRequest

IMAGE = np.zeros((8, 8, 3), np.uint8)
VIDEO = Video(np.zeros((8, 8, 8, 3), np.uint8), 8)
MASK = np.zeros((1, 8, 8), np.uint8)


def make(**changes):
    values = {
        "prompt": "x",
        "num_frames": 8,
        "height": 64,
        "width": 64,
        "fps": 8,
        "num_inference_steps": 2,
        "guidance_scale": 1.0,
        "sampler": "euler",
    }
    return VideoRequest(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({}, Task.TEXT_TO_VIDEO),
        ({"num_frames": 1}, Task.TEXT_TO_IMAGE),
        ({"start_images": (IMAGE,)}, Task.IMAGE_TO_VIDEO),
        ({"start_images": (IMAGE,), "end_image": IMAGE}, Task.IMAGE_TO_VIDEO),
        ({"video": VIDEO, "mask": MASK, "strength": 0.5}, Task.VIDEO_TO_VIDEO),
        ({"segment_frames": 16, "overlap_frames": 4}, Task.TEXT_TO_VIDEO),
    ],
)
def test_task(changes, task):
    assert make(**changes).task is task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "num_frames is out of range"),
        ({"height": -16}, "height is out of range"),
        ({"fps": 0}, "fps is out of range"),
        ({"fps": float("inf")}, "fps is out of range"),
        ({"guidance_scale": float("nan")}, "guidance_scale is out of range"),
        ({"guidance_scale": -1}, "guidance_scale is out of range"),
        ({"guidance_scale": 1e6}, "from 0 to 100"),
        ({"num_inference_steps": 0}, "num_inference_steps is out of range"),
        ({"num_inference_steps": 1001}, "from 1 to 1000"),
        ({"num_inference_steps": 10**8}, "received: 100000000"),
        ({"fps": 10**300}, "from 0.1 to 1000"),
        ({"fps": float("nan")}, "fps is out of range"),
        ({"num_frames": 10**9}, "from 1 to 100000"),
        ({"width": 10**9}, "from 1 to 16384"),
        ({"prompt": "x" * 100_001}, "prompt is too long"),
        ({"negative_prompt": "x" * 100_001}, "negative_prompt is too long"),
        ({"strength": 0}, "strength is out of range"),
        ({"strength": 1.5}, "strength is out of range"),
        ({"strength": 0.5}, "needs a source video"),
        ({"seed": -1}, "seed is out of range"),
        ({"seed": 2**63}, "seed is out of range"),
        ({"end_image": IMAGE}, "needs a start image"),
        ({"video": VIDEO, "start_images": (IMAGE,)}, "not from both"),
        ({"mask": MASK}, "needs a video"),
        ({"start_images": (IMAGE,) * 9}, "more start images than frames"),
        ({"start_images": (IMAGE,) * 5, "num_frames": 16, "segment_frames": 4, "overlap_frames": 1}, "5 images for 4"),
        ({"start_images": (IMAGE,), "end_image": IMAGE, "num_frames": 1}, "One frame cannot begin"),
        ({"video": VIDEO, "num_frames": 16}, "video is shorter"),
        (
            {"video": VIDEO, "mask": np.repeat(MASK, 3, axis=0)},
            "mask is shorter than the clip.\n  received: 3 frames for 8",
        ),
        ({"video": VIDEO, "segment_frames": 4, "overlap_frames": 1}, "long video cannot be made from a source video"),
        ({"video": VIDEO, "strength": 0.3, "num_inference_steps": 3}, "no step"),
        ({"fit": "squeeze"}, "no such fit"),
        ({"keep_pixels": 1}, "keep_pixels is of another type"),
        ({"segment_frames": 16}, "segment and of the overlap"),
        ({"segment_frames": 16, "overlap_frames": 16}, "shorter than the segment"),
        ({"segment_frames": 16, "overlap_frames": 0}, "shorter than the segment"),
    ],
)
def test_a_request_that_contradicts_itself(changes, message):
    with pytest.raises(RequestError, match=message):
        make(**changes)


@pytest.mark.parametrize("shape", [(8, 8, 3), (0, 8, 8, 3), (1, 8, 8, 4), (1, 0, 8, 3), (1, 1, 8, 8, 3)])
def test_a_video_is_frames_of_pixels(shape):
    with pytest.raises(RequestError, match="array of pixels"):
        Video(np.zeros(shape, np.uint8), 8)


def test_a_video_has_whole_numbers_and_a_rate():
    with pytest.raises(RequestError, match="float32"):
        Video(np.zeros((1, 8, 8, 3), np.float32), 8)
    for fps in (0, -1, float("nan")):
        with pytest.raises(RequestError, match="per second"):
            Video(VIDEO.frames, fps)


@pytest.mark.parametrize("key", ["", "two words", " v4", "v4\n"])
def test_a_model_key_is_one_word(key):
    with pytest.raises(RequestError, match="one word"):
        ModelSpec(key=key, summary="", load=print)


def test_specs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seed = 3


@pytest.mark.parametrize(
    ("trained", "clip", "words"),
    [
        (TrainedRange(), (144, 384, 672), ()),
        (TrainedRange(), (1, 512, 512), ()),
        (TrainedRange(), (1, 256, 1024), ()),
        (TrainedRange(max_ratio=2.0), (1, 352, 704), ()),
        (TrainedRange(max_ratio=2.0), (1, 256, 1024), ("shapes up to 2 to 1; 256x1024 may",)),
        (TrainedRange(max_ratio=1.0), (1, 704, 400), ("on squares; 704x400 may",)),
        (TrainedRange(), (160, 512, 512), ("clips of 1 to 144 frames; 160",)),
        (TrainedRange(min_frames=40, max_frames=80), (8, 512, 512), ("40 to 80 frames; 8",)),
        (TrainedRange(min_frames=40, max_frames=80), (1, 512, 512), ()),
        (TrainedRange(), (8, 768, 1344), ("about 512x512 pixels; 768x1344",)),
        (TrainedRange(min_side=512, max_side=1280), (8, 768, 1344), ()),
        (
            TrainedRange(min_side=512, max_side=1280),
            (200, 64, 64),
            ("144 frames", "512x512 to 1280x1280 pixels; 64x64"),
        ),
    ],
)
def test_what_is_far_from_the_training_is_warned_of(trained, clip, words):
    lines = trained.warn(*clip)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line
