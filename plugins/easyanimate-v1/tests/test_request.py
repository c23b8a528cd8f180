"""Requests to clips, by V1."""

import numpy as np
import pytest
from easyanimate_core import PixelShape, RequestError


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpm++", "pndm", "ddim"])
def test_every_sampler_makes_a_clip(pipeline, make_request, sampler):
    clip = pipeline(make_request(num_frames=2, sampler=sampler, num_inference_steps=4))
    assert clip.frames.std() > 0


def test_any_number_of_frames_is_one_latent_each(pipeline):
    codec = pipeline.pipeline.parts.codec
    for num_frames in (2, 7, 40, 81):
        shape = codec.shapes.latent_shape(PixelShape(num_frames, 64, 96))
        assert (shape.num_frames, shape.height, shape.width) == (num_frames, 8, 12)


def test_sides_are_multiples_of_32(pipeline, make_request):
    with pytest.raises(RequestError, match="use 32 or 64"):
        pipeline(make_request(width=48))


def test_prompts_are_cleaned(pipeline, make_request):
    plain = pipeline(make_request(num_frames=2, prompt="a red boat")).frames
    assert np.array_equal(plain, pipeline(make_request(num_frames=2, prompt="A  red boat https://example.com")).frames)
