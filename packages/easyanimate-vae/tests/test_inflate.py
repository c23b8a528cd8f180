"""A video VAE that starts from an image VAE: what comes out is what the image VAE gives."""

import json

import pytest
import torch
from diffusers import AutoencoderKL
from easyanimate_core.errors import WeightsError
from easyanimate_vae import FrameAutoencoder
from easyanimate_vae.training.inflate import inflate_image_vae
from safetensors.torch import load_file, save_file

FLAVOURS = ("v2", "v3", "v4", "whole")
FRAME_BY_FRAME = {"spatial_group_norm": True, "mid_block_attention_type": "spatial"}
IMAGE = {
    "block_out_channels": [4, 4, 8],
    "layers_per_block": 2,
    "latent_channels": 3,
    "norm_num_groups": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def make_image_vae(**changes):
    torch.manual_seed(0)
    vae = AutoencoderKL(**(IMAGE | changes)).eval()
    for parameter in vae.parameters():  # norms and biases start as ones and zeros, which would hide what is left out
        parameter.data += 0.1 * torch.randn_like(parameter)
    return vae


@pytest.fixture
def make_video_vae(build_random):
    """Function from a flavour to a video VAE of the image VAE's size."""

    def make(flavour="v4", **changes):
        config = {
            "ch_mult": [1, 1, 2],
            "latent_channels": 3,
            "down_block_types": ["SpatialTemporalDownBlock3D"] * 3,
            "up_block_types": ["SpatialTemporalUpBlock3D"] * 3,
        }
        return build_random(flavour, **(config | changes))

    return make


@pytest.fixture
def image_vae():
    return make_image_vae()


@pytest.fixture
def folder(image_vae, tmp_path):
    image_vae.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_single_frame_is_coded_as_an_image(image_vae, make_video_vae, folder, flavour):
    image = torch.rand(2, 3, 16, 24) * 2 - 1
    model = make_video_vae(flavour)
    inflate_image_vae(model, folder)
    moments = model.encode(image[:, :, None]).latent_dist.parameters
    assert moments.shape[2] == 1
    assert_near(moments[:, :, 0], image_vae.encode(image).latent_dist.parameters)
    latent = torch.randn(2, 3, 4, 6)
    assert_near(model.decode(latent[:, :, None]).sample[:, :, 0], image_vae.decode(latent).sample)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("prefer", ["frame", "clip"])
def test_a_clip_of_equal_frames_is_decoded_to_equal_images(image_vae, make_video_vae, folder, flavour, prefer):
    model = make_video_vae(flavour)
    inflate_image_vae(model, folder, prefer=prefer)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    latent = model.encode(image[:, :, None].expand(-1, -1, 8, -1, -1)).latent_dist.mean
    decoded = model.decode(latent).sample
    assert latent.shape[2] < 8
    expected = image_vae.encode(image).latent_dist.mean
    assert_near(latent, expected[:, :, None].expand_as(latent))
    assert_near(decoded, image_vae.decode(expected).sample[:, :, None].expand_as(decoded))


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_moving_clip_is_coded_frame_by_frame_where_the_norms_are(image_vae, make_video_vae, folder, flavour):
    model = make_video_vae(flavour, **FRAME_BY_FRAME)
    inflate_image_vae(model, folder, prefer="clip")
    clip = torch.rand(1, 3, 8, 16, 16) * 2 - 1
    mean = model.encode(clip).latent_dist.mean
    for index, latent in enumerate(mean.unbind(dim=2)):
        assert_near(latent, image_vae.encode(clip[:, :, 4 * index]).latent_dist.mean)
    if flavour == "v4":
        decoded = model.decode(mean).sample
        for index, frame in enumerate(decoded.unbind(dim=2)):
            assert_near(frame, image_vae.decode(mean[:, :, index // 4]).sample)


@pytest.mark.usefixtures("no_grad")
def test_image_vaes_without_convolutions_beside_the_latents(make_video_vae, tmp_path):
    image_vae = make_image_vae(use_quant_conv=False, use_post_quant_conv=False)
    image_vae.save_pretrained(tmp_path)
    model = make_video_vae()
    inflate_image_vae(model, tmp_path)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    mean = image_vae.encode(image).latent_dist.mean
    assert_near(model.encode(image[:, :, None]).latent_dist.mean[:, :, 0], mean)
    assert_near(model.decode(mean[:, :, None]).sample[:, :, 0], image_vae.decode(mean).sample)


@pytest.mark.usefixtures("no_grad")
def test_folders_of_the_frame_vae_and_names_of_old(make_video_vae, folder, tmp_path):
    FrameAutoencoder.from_pretrained(folder).save_pretrained(tmp_path / "frames", safe_serialization=False)
    expected, model = make_video_vae(), make_video_vae()
    inflate_image_vae(expected, folder)
    inflate_image_vae(model, tmp_path / "frames")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights):
        for key in [key for key in weights if ".attentions." in key]:
            for new, name in old.items():
                if f".{new}." in key:
                    weights[key.replace(f".{new}.", f".{name}.")] = weights.pop(key)

    rewrite(folder, rename)
    aged = make_video_vae()
    inflate_image_vae(aged, folder)
    for key, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor), key
        assert torch.equal(aged.state_dict()[key], tensor), key


def test_what_does_not_fit_is_listed_and_changes_nothing(make_video_vae, folder):
    def spoil(weights):
        del weights["decoder.mid_block.resnets.1.conv1.bias"]
        weights["encoder.conv_out.bias"] = torch.zeros(3)
        weights["decoder.other.weight"] = torch.zeros(1)

    rewrite(folder, spoil)
    model = make_video_vae()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        inflate_image_vae(model, folder)
    text = str(error.value)
    for title, line in (
        ("missing", "decoder.mid_block.resnets.1.conv1.bias"),
        ("unexpected", "decoder.other.weight"),
        ("of another shape", "encoder.conv_out.bias: (3,) in the file, (6,) in the model"),
    ):
        assert f"1 {title}:\n    {line}" in text
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_another_depth_or_other_settings_are_refused(make_video_vae, folder):
    with pytest.raises(WeightsError, match=r"unexpected:\s+decoder"):
        inflate_image_vae(make_video_vae(layers_per_block=1), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"act_fn": "gelu", "norm_num_groups": 4}))
    with pytest.raises(WeightsError, match="norm_num_groups 4, not 2; act_fn gelu, not silu"):
        inflate_image_vae(make_video_vae(), folder)
