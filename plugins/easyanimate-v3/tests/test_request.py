"""Requests to clips, by V3."""

import numpy as np
import pytest
import torch
from easyanimate_core import LatentShape, PixelShape, RequestError, Video


def test_a_run_does_not_touch_the_global_random_state(pipeline, make_request, picture):
    before = torch.get_rng_state()
    pipeline(make_request(sampler="euler_a", start_images=(picture(),)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpm++", "pndm", "ddim"])
def test_every_sampler_makes_an_image(pipeline, make_request, sampler):
    clip = pipeline(make_request(num_frames=1, sampler=sampler, num_inference_steps=4))
    assert clip.frames.shape == (1, 32, 48, 3)
    assert clip.frames.std() > 0


def test_start_and_end_images_condition_the_clip(pipeline, make_request, picture):
    start = make_request(start_images=(picture(0),))
    both = make_request(start_images=(picture(0),), end_image=picture(1))
    clips = [pipeline(request).frames for request in (make_request(), start, both)]
    for index, clip in enumerate(clips):
        assert clip.shape == (8, 32, 48, 3)
        assert not any(np.array_equal(clip, other) for other in clips[:index])


def test_video_to_video(pipeline, make_request, picture):
    source = Video(np.stack([picture(0)] * 8), 8)
    half = np.zeros((1, 37, 53), np.uint8)
    half[:, :, :20] = 1
    changed = make_request(video=source, strength=0.5, num_inference_steps=4)
    masked = make_request(video=source, mask=half)
    clips = [pipeline(request).frames for request in (make_request(), changed, masked)]
    for index, clip in enumerate(clips):
        assert clip.shape == (8, 32, 48, 3)
        assert not any(np.array_equal(clip, other) for other in clips[:index])


def test_a_long_video_is_made_in_parts(pipeline, make_request):
    assert pipeline(make_request(num_frames=24, segment_frames=16, overlap_frames=8)).frames.shape == (24, 32, 48, 3)


def test_frames_come_in_chunks_of_eight(pipeline, make_request):
    shapes = pipeline.pipeline.parts.codec.shapes
    assert shapes.latent_shape(PixelShape(144, 384, 672)) == LatentShape(36, 48, 84)
    assert shapes.latent_shape(PixelShape(8, 64, 64)).num_frames == 2
    assert shapes.latent_shape(PixelShape(1, 64, 64)).num_frames == 1
    with pytest.raises(RequestError, match="use 16 or 24"):
        pipeline(make_request(num_frames=20))
