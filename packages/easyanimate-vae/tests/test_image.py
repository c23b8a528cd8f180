"""V1's image VAE: every frame is coded as the image it is, a few at a time, from the official files."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_vae import FrameAutoencoder
from easyanimate_vae.training.initial import start_frames_as_identity
from easyanimate_vae.training.run import train_vae

MANIFEST = Path(__file__).parent / "golden" / "manifest_v1.json"
OFFICIAL = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4}
SMALL = {"block_out_channels": [4, 8], "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 2}


def with_blocks(config):
    count = len(config["block_out_channels"])
    return config | {
        "down_block_types": ["DownEncoderBlock2D"] * count,
        "up_block_types": ["UpDecoderBlock2D"] * count,
    }


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return FrameAutoencoder(**with_blocks(SMALL)).eval()


@pytest.fixture
def image_vae(vae):
    same = AutoencoderKL(**with_blocks(SMALL)).eval()
    same.load_state_dict(vae.state_dict())
    return same


@pytest.fixture
def clip():
    return torch.randn(2, 3, 6, 16, 24, generator=torch.Generator().manual_seed(1))


def test_official_keys_and_shapes():
    with torch.device("meta"):
        vae = FrameAutoencoder(**with_blocks(OFFICIAL))
    assert {key: list(value.shape) for key, value in vae.state_dict().items()} == json.loads(MANIFEST.read_text())


@torch.no_grad()
def test_every_frame_is_coded_as_an_image(vae, image_vae, clip):
    posterior = vae.encode(clip).latent_dist
    decoded = vae.decode(posterior.mean).sample
    assert posterior.mean.shape == (2, 4, 6, 8, 12)
    assert decoded.shape == clip.shape
    for index in range(clip.shape[2]):
        own = image_vae.encode(clip[:, :, index]).latent_dist
        torch.testing.assert_close(posterior.parameters[:, :, index], own.parameters, atol=1e-5, rtol=0)
        image = image_vae.decode(posterior.mean[:, :, index]).sample
        torch.testing.assert_close(decoded[:, :, index], image, atol=1e-5, rtol=0)


@torch.no_grad()
def test_decoding_gives_a_few_frames_at_a_time(vae, clip):
    latents = vae.encode(clip).latent_dist.mean
    pieces = list(vae.decode_chunks(latents))
    assert [piece.shape[2] for piece in pieces] == [4, 2]
    torch.testing.assert_close(torch.cat(pieces, dim=2), vae.decode(latents).sample)


@torch.no_grad()
def test_tuples_on_request(vae, clip):
    posterior = vae.encode(clip, return_dict=False)
    decoded = vae.decode(torch.zeros(1, 4, 1, 2, 2), return_dict=False)
    assert type(posterior) is type(decoded) is tuple


def test_files_of_diffusers_load(vae, image_vae, clip, tmp_path):
    image_vae.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "AutoencoderKL"
    loaded = FrameAutoencoder.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded.encode(clip, return_dict=False)[0].mean, vae.encode(clip).latent_dist.mean)


@torch.no_grad()
def test_fresh_weights_carry_a_flat_colour_to_the_latents(vae):
    start_frames_as_identity(vae)
    grey, bright = (vae.encode(torch.full((1, 3, 1, 16, 16), level)).latent_dist.mean for level in (0.0, 1.0))
    assert (bright - grey).abs().amax() > 0.05
    assert grey[..., 2:6, 2:6].std(dim=(-1, -2)).max() < 1e-4


class Clips:
    """The same clip again and again."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        frames = torch.full((6, 16, 16, 3), 40, dtype=torch.uint8)
        frames[:, 4:12, 4:12] = 200
        return {"frames": frames.numpy(), "text": ""}


def test_it_trains_with_the_loop_of_the_video_vae(configure):
    config = configure(
        "run",
        kind="frames",
        model=with_blocks(SMALL),
        data=DataConfig(batches=((2, 4),)),
        optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=0),
        max_steps=12,
    )
    weights = train_vae(config, CycledBatches(Clips(), config.data, seed=config.seed))
    losses = [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert FrameAutoencoder.from_pretrained(weights / "vae").config["latent_channels"] == 4
