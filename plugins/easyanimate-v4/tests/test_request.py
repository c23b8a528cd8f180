"""Requests to clips, by V4: its prompts, pictures, frames and samplers."""

import numpy as np
import pytest
import torch
from easyanimate_core import LoadOptions, RequestError, WeightsFolder
from easyanimate_v4.plugin import V4


def test_the_same_request_makes_the_same_clip(pipeline, make_request):
    first, second = pipeline(make_request(seed=3)), pipeline(make_request(seed=3))
    assert first.frames.shape == (8, 32, 48, 3)
    assert np.array_equal(first.frames, second.frames)
    assert not np.array_equal(first.frames, pipeline(make_request(seed=4)).frames)


def test_prompts_may_be_chinese(pipeline, make_request):
    clip, other = (pipeline(make_request(num_frames=1, prompt=prompt)) for prompt in ("一只小船在湖上", "两只灰猫"))
    assert not np.array_equal(clip.frames, other.frames)


def test_samplers_take_the_whole_configuration_of_the_checkpoint(pipeline, make_request):
    pipeline(make_request(num_frames=1, sampler="pndm", num_inference_steps=4))
    assert pipeline.pipeline.scheduler.timesteps.tolist() == [751, 501, 501, 251, 1]
    pipeline(make_request(num_frames=1, sampler="euler", num_inference_steps=4))
    assert pipeline.pipeline.scheduler.timesteps.tolist() == [751, 501, 251, 1]
    assert float(pipeline.pipeline.scheduler.init_noise_sigma) == pytest.approx(19.978, abs=1e-3)


def test_start_and_end_images_condition_the_clip(pipeline, make_request, picture):
    assert pipeline.pipeline.parts.image_frames == 3
    assert pipeline.pipeline.parts.image_share == 0.4
    start = make_request(start_images=(picture(0),))
    both = make_request(start_images=(picture(0),), end_image=picture(1))
    clips = [pipeline(request).frames for request in (make_request(), start, both)]
    for index, clip in enumerate(clips):
        assert not any(np.array_equal(clip, other) for other in clips[:index])


def test_frames_come_in_chunks_of_eight_and_sides_are_multiples_of_16(pipeline, make_request):
    with pytest.raises(RequestError, match="use 8 or 16"):
        pipeline(make_request(num_frames=9))
    with pytest.raises(RequestError, match="use 32 or 48"):
        pipeline(make_request(height=40))


def test_the_number_format_can_be_chosen(checkpoint, make_request):
    loaded = V4.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu", dtype="bfloat16"))
    assert loaded.dtype == torch.bfloat16
    assert loaded(make_request(num_frames=1)).frames.std() > 0
