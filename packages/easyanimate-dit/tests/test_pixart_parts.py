"""What V1 to V3 hand to the sampling pipeline: cleaned captions, sizes, embedded pictures, coded masks, smoothing."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from easyanimate_core import PixelShape, ShapeRule
from easyanimate_dit.pixart.caption_cleaning import clean_caption
from easyanimate_dit.sampling.conditioning import ClipEmbedConditioner, MetaSize, PixArtSizeConditioner
from easyanimate_dit.sampling.inpaint import CodedMaskInpainter, GivenClip
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.noise import SeededNoise
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

CAPTIONS = json.loads((Path(__file__).parent / "golden" / "caption_cleaning.json").read_text(encoding="utf-8"))
CPU = torch.device("cpu")


@pytest.mark.parametrize("caption", CAPTIONS)
def test_captions_are_cleaned_as_the_original_did(caption):
    assert clean_caption(caption) == CAPTIONS[caption]


def test_sizes_are_told_where_the_checkpoint_wants_them():
    arguments = {"num_videos": 2, "device": CPU, "dtype": torch.float32}
    assert PixArtSizeConditioner(has_size_condition=False).encode(PixelShape(9, 64, 128), MetaSize(), **arguments) == {}
    told = PixArtSizeConditioner(has_size_condition=True).encode(PixelShape(9, 64, 128), MetaSize(), **arguments)
    assert told["resolution"].tolist() == [[64, 128]] * 2
    assert told["aspect_ratio"].tolist() == [[0.5]] * 2


def test_a_picture_becomes_its_embedding_and_none_becomes_zeros():
    torch.manual_seed(0)
    config = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(**config, image_size=16, patch_size=8, projection_dim=12)
    ).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    conditioner = ClipEmbedConditioner(processor, encoder, num_tokens=3)
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    with torch.no_grad():
        coded = conditioner.encode(picture, num_videos=2, device=CPU, dtype=torch.float32)
        expected = encoder(processor(images=[picture], return_tensors="pt").pixel_values).image_embeds
    torch.testing.assert_close(coded.present["clip_encoder_hidden_states"], expected.repeat(2, 1))
    assert coded.present["clip_attention_mask"].tolist() == [[1, 1, 1]] * 2
    assert coded.absent["clip_encoder_hidden_states"].tolist() == [[0] * 12] * 2
    assert coded.absent["clip_attention_mask"].tolist() == [[0, 0, 0]] * 2
    nothing = conditioner.encode(None, num_videos=1, device=CPU, dtype=torch.float32)
    assert nothing.present["clip_attention_mask"].sum() == 0


class PixelVae:
    """Its latents are pixels, averaged in space."""

    dtype, device = torch.float32, CPU
    config = SimpleNamespace(scaling_factor=2.0, latent_channels=3)

    def encode(self, pixels):
        mean = torch.nn.functional.avg_pool3d(pixels, (4, 8, 8))
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=torch.full_like(mean, -60.0)))

    def decode_chunks(self, latents):
        raise NotImplementedError

    def decode_smoothly(self, latents, draw):
        assert draw(self.encode(torch.zeros(1, 3, 8, 16, 16)).latent_dist).shape == (1, 3, 2, 2, 2)
        return latents


def test_mask_and_black_clip_are_coded_when_nothing_is_given():
    codec = LatentCodec(PixelVae(), ShapeRule())
    inputs = CodedMaskInpainter().condition(None, (2, 3, 2, 2, 2), codec, SeededNoise(), device=CPU)
    mask, clip = inputs["inpaint_latents"].chunk(2, dim=1)
    assert inputs["inpaint_latents"].shape == (1, 6, 2, 2, 2)
    torch.testing.assert_close(mask, torch.full_like(mask, 2.0))
    torch.testing.assert_close(clip, torch.full_like(clip, -2.0))


def test_what_is_given_stays_in_the_coded_clip():
    codec = LatentCodec(PixelVae(), ShapeRule())
    mask = torch.ones(1, 1, 8, 16, 16)
    mask[:, :, :4] = 0
    given = GivenClip(torch.full((1, 3, 8, 16, 16), 0.5), mask)
    inputs = CodedMaskInpainter().condition(given, (1, 3, 2, 2, 2), codec, SeededNoise(), device=CPU)
    coded_mask, clip = inputs["inpaint_latents"].chunk(2, dim=1)
    assert coded_mask[0, 0, :, 0, 0].tolist() == pytest.approx([0.0, 2.0])
    assert clip[0, 0, :, 0, 0].tolist() == pytest.approx([1.0, -2.0])


def test_a_smoothed_clip_comes_in_one_piece():
    codec = LatentCodec(PixelVae(), ShapeRule(), smooth=True)
    (clip,) = codec.decode(torch.full((1, 3, 2, 2, 2), 1.0), SeededNoise())
    torch.testing.assert_close(clip, torch.full_like(clip, 0.75))
