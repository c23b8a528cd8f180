"""The original's VAE folders load: as they are, with what its training left in them, with configurations of old."""

import json

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import load_model
from easyanimate_vae import TRAINING_EXTRAS, AutoencoderKLMagvit, FrameAutoencoder
from safetensors.torch import load_file, save_file

IMAGE = {
    "block_out_channels": [4, 4],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 2,
}


@pytest.fixture
def folder(case, tmp_path):
    """An original's VAE folder, with networks of its training."""
    (tmp_path / "config.json").write_text(json.dumps(case.config))
    extras = {"loss.discriminator.main.0.weight": torch.zeros(4), "loss.perceptual_loss.lin0.weight": torch.zeros(2)}
    save_file(case.weights | extras, tmp_path / "diffusion_pytorch_model.safetensors")
    return tmp_path


@pytest.mark.usefixtures("no_grad")
def test_the_originals_folder_gives_its_numbers(case, folder):
    vae = load_model(AutoencoderKLMagvit, folder, dtype=torch.float32, known_extras=TRAINING_EXTRAS)
    torch.testing.assert_close(vae.decode(case.inputs["z"]).sample, case.outputs["decoded"], atol=1e-4, rtol=0)


def test_only_known_extras_pass(folder):
    with pytest.raises(WeightsError, match=r"2 unexpected:\s+loss\.discriminator"):
        load_model(AutoencoderKLMagvit, folder, dtype=torch.float32)


@pytest.mark.usefixtures("no_grad")
def test_image_vaes_with_attention_names_of_old(tmp_path):
    torch.manual_seed(0)
    vae = FrameAutoencoder(**IMAGE).eval()
    vae.save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for new, name in old.items():
        weights = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in weights.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in weights
    save_file(weights, path)
    loaded = load_model(FrameAutoencoder, tmp_path, dtype=torch.float32)
    clip = torch.randn(1, 3, 2, 8, 8)
    assert torch.equal(loaded.encode(clip).latent_dist.mean, vae.encode(clip).latent_dist.mean)
