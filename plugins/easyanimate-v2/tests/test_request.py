"""Requests to clips, by V2."""

import pytest
from easyanimate_core import LatentShape, PixelShape, RequestError


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpm++", "pndm", "ddim"])
def test_every_sampler_makes_an_image(pipeline, make_request, sampler):
    clip = pipeline(make_request(num_frames=1, sampler=sampler, num_inference_steps=4))
    assert clip.frames.shape == (1, 32, 48, 3)
    assert clip.frames.std() > 0


def test_frames_come_in_chunks_of_nine(pipeline, make_request):
    shapes = pipeline.pipeline.parts.codec.shapes
    assert shapes.latent_shape(PixelShape(144, 384, 672)) == LatentShape(48, 48, 84)
    assert shapes.latent_shape(PixelShape(9, 64, 64)).num_frames == 3
    assert shapes.latent_shape(PixelShape(1, 64, 64)).num_frames == 1
    with pytest.raises(RequestError, match="use 18 or 27"):
        pipeline(make_request(num_frames=20))
