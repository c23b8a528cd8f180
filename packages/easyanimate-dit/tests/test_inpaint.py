"""What is kept of a clip, for transformers with further channels and for plain ones."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from easyanimate_core import PixelShape, RequestError
from easyanimate_dit.sampling.inpaint import BlendInpainter, ChannelInpainter, GivenClip, SourceLatents, prepare_clip

PIXELS = PixelShape(8, 16, 32)


class Codec:
    """Keeps what it is given to encode."""

    def __init__(self):
        self.encoded = []

    def encode(self, pixels, _noise, use, *, device):
        self.encoded.append((use, pixels))
        return torch.full((1, 4, 2, 2, 4), float(len(self.encoded)), device=device)


def condition(given):
    codec = Codec()
    found = ChannelInpainter().condition(given, (1, 4, 2, 2, 4), codec, None, device=torch.device("cpu"))
    return found["inpaint_latents"], codec.encoded


@pytest.mark.parametrize("given", [None, GivenClip(torch.zeros(1, 3, 8, 16, 32), torch.ones(1, 1, 8, 16, 32))])
def test_with_nothing_to_keep_nothing_is_encoded(given):
    latents, encoded = condition(given)
    assert encoded == []
    assert latents.shape == (1, 8, 2, 2, 4)
    assert not latents.any()


def test_the_mask_is_encoded_as_it_is_and_generated_pixels_are_black():
    mask = torch.ones(1, 1, 8, 16, 32)
    mask[:, :, :3] = 0
    latents, encoded = condition(GivenClip(torch.full((1, 3, 8, 16, 32), 0.5), mask))
    (first, coded_mask), (second, clip) = encoded
    assert [first, second] == ["mask", "masked clip"]
    assert torch.equal(coded_mask, mask.expand(-1, 3, -1, -1, -1))
    assert (clip[:, :, :3] == 0.5).all()
    assert (clip[:, :, 3:] == -1).all()
    assert latents[0, :, 0, 0, 0].tolist() == [1.0] * 4 + [2.0] * 4


def test_plain_transformers_get_the_kept_part_back_after_each_step():
    mask = torch.ones(1, 1, 8, 16, 32)
    mask[..., :16] = 0
    noise = torch.full((1, 4, 2, 2, 4), 10.0)
    source = SourceLatents(torch.full((1, 4, 2, 2, 4), 3.0), noise)
    scheduler = SimpleNamespace(add_noise=lambda clip, noise, timestep: clip + noise * timestep)
    kept = BlendInpainter().keep(GivenClip(torch.zeros(1, 3, 8, 16, 32), mask), source)
    latents = torch.full((1, 4, 2, 2, 4), 7.0)
    between, last = (kept.put_back(latents, scheduler, timestep) for timestep in (torch.tensor(0.5), None))
    assert between[..., 0].unique().tolist() == [8.0]
    assert last[..., 0].unique().tolist() == [3.0]
    assert last[..., -1].unique().tolist() == [7.0]


def test_clips_and_masks_are_brought_to_size():
    video = np.zeros((8, 8, 16, 3), np.uint8)
    video[:, :, 8:] = 255
    mask = np.zeros((1, 8, 16), np.uint8)
    mask[:, 4:] = 1
    given = prepare_clip(video, mask, PIXELS)
    assert given.pixels.shape == (1, 3, 8, 16, 32)
    assert (given.pixels[..., :16] == -1).all()
    assert (given.pixels[..., 16:] == 1).all()
    assert given.mask.shape == (1, 1, 8, 16, 32)
    assert not given.mask[..., :8, :].any()
    assert (given.mask[..., 8:, :] == 1).all()


def test_another_number_of_frames_is_refused():
    with pytest.raises(RequestError, match="another number of frames"):
        prepare_clip(np.zeros((7, 8, 16, 3), np.uint8), None, PIXELS)
