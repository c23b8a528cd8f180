"""The VAEs are what the sampling pipeline takes."""

import pytest
import torch
from easyanimate_core import ShapeRule
from easyanimate_core.testing import AutoencoderCase, AutoencoderContract, SmoothingAutoencoderContract
from easyanimate_vae import FrameAutoencoder

pytestmark = pytest.mark.usefixtures("no_grad")


def draw_clips(num_frames):
    return torch.randn(2, 3, num_frames, 16, 24, generator=torch.Generator().manual_seed(0)).tanh()


class TestVideoAutoencoder(SmoothingAutoencoderContract):
    """V2: 9 frames are 3 latent frames, one is one; V3: 8 are 2."""

    @pytest.fixture(params=[("v2", 9, 3), ("v3", 8, 2)], ids=lambda param: param[0])
    def case(self, request, build_random):
        flavour, frames, latents = request.param
        shapes = ShapeRule(size_multiple=8, chunk_frames=frames, chunk_latents=latents, spatial_stride=8)
        return AutoencoderCase(vae=build_random(flavour), shapes=shapes, clips=draw_clips(2 * frames))


class TestCachingAutoencoder(AutoencoderContract):
    """V4."""

    @pytest.fixture
    def case(self, build_random):
        shapes = ShapeRule(size_multiple=8, chunk_frames=8, chunk_latents=2, spatial_stride=8)
        return AutoencoderCase(vae=build_random("v4"), shapes=shapes, clips=draw_clips(16))


class TestFrameAutoencoder(AutoencoderContract):
    """V1."""

    @pytest.fixture
    def case(self):
        block = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = FrameAutoencoder(block_out_channels=(4, 4, 4, 8), norm_num_groups=2, **block).eval()
        shapes = ShapeRule(size_multiple=8, chunk_frames=1, chunk_latents=1, spatial_stride=8)
        return AutoencoderCase(vae=vae, shapes=shapes, clips=draw_clips(6))
