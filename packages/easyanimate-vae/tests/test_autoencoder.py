"""The numbers of the original, its keys and shapes, and clear errors for inputs that do not fit."""

import json
from pathlib import Path

import pytest
import torch
from easyanimate_core.errors import RequestError, WeightsError
from easyanimate_vae import AutoencoderKLMagvit

MANIFEST = Path(__file__).parent / "golden" / "manifest_v2_v3_v4.json"
CASES = (
    *("vae_one_chunk", "vae_one_frame", "vae_odd_and_partial", "vae_tiled", "vae_spatial_group_norm"),
    *("vae_mid_attention_spatial", "vae_v2_one_chunk"),
)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("name", CASES)
def test_golden(golden, name):
    case = golden(name)
    vae = case.build()
    found = {"decoded": vae.decode(case.inputs["z"]).sample}
    if "pixel_values" in case.inputs:
        posterior = vae.encode(case.inputs["pixel_values"]).latent_dist
        found |= {"mean": posterior.mean, "logvar": posterior.logvar}
    assert found.keys() == case.outputs.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, case.outputs[key], atol=1e-4, rtol=0)


@pytest.mark.parametrize("flavour", ["v2", "v3", "v4"])
def test_official_keys_and_shapes(flavour):
    flags = {
        "v2": {"slice_mag_vae": True},
        "v3": {"slice_mag_vae": False, "slice_compression_vae": True},
        "v4": {"slice_mag_vae": False, "cache_compression_vae": True},
    }
    with torch.device("meta"):
        vae = AutoencoderKLMagvit(**flags[flavour])
    shapes = {key: list(value.shape) for key, value in vae.state_dict().items()}
    assert shapes == json.loads(MANIFEST.read_text())
    assert sum(parameter.numel() for parameter in vae.parameters()) == 245_979_879


@pytest.mark.usefixtures("no_grad")
def test_forward_decodes_the_mode_or_a_sample(case, vae):
    pixels = case.inputs["pixel_values"]
    posterior = vae.encode(pixels).latent_dist
    torch.testing.assert_close(vae(pixels).sample, vae.decode(posterior.mode()).sample)
    drawn = vae(pixels, sample_posterior=True, generator=torch.Generator().manual_seed(3)).sample
    again = posterior.sample(torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn, vae.decode(again).sample)


@pytest.mark.usefixtures("no_grad")
def test_tuples_on_request(case, vae):
    assert isinstance(vae.encode(case.inputs["pixel_values"], return_dict=False), tuple)
    assert isinstance(vae.decode(case.inputs["z"], return_dict=False), tuple)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize(
    ("flavour", "latents", "chunks"),
    [
        ("v4", 6, [8, 8, 8]),
        ("v4", 1, [1]),
        ("v3", 5, [1, 8, 8]),
        ("v3", 1, [1]),
        ("v2", 6, [9, 9]),
        ("whole", 5, [17]),
    ],
)
def test_chunks_make_up_the_clip(build_random, flavour, latents, chunks):
    vae = build_random(flavour)
    z = torch.randn(2, 4, latents, 3, 2)
    pieces = list(vae.decode_chunks(z))
    assert [piece.shape[2] for piece in pieces] == chunks
    assert torch.equal(torch.cat(pieces, dim=2), vae.decode(z).sample)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize(("flavour", "frames"), [("v4", 16), ("v3", 16), ("v2", 18)])
def test_sizes_of_chunks_come_from_the_configuration(build_random, flavour, frames, monkeypatch):
    half = frames // 2
    vae = build_random(flavour, mini_batch_encoder=half // 2, mini_batch_decoder=1)
    encoded = []
    finish = vae.encoder.finish
    monkeypatch.setattr(vae.encoder, "finish", lambda x, mode: encoded.append(x.shape[2]) or finish(x, mode))
    latents = vae.encode(torch.zeros(1, 3, frames, 8, 8)).latent_dist.mean
    assert len(encoded) == -(-frames // (half // 2))
    assert len(list(vae.decode_chunks(latents))) == latents.shape[2]


@pytest.mark.usefixtures("no_grad")
def test_two_levels_halve_the_size():
    vae = AutoencoderKLMagvit(
        ch=4,
        ch_mult=(1, 1),
        norm_num_groups=2,
        down_block_types=("SpatialDownBlock3D",) * 2,
        up_block_types=("SpatialUpBlock3D",) * 2,
    )
    latents = vae.encode(torch.zeros(1, 3, 3, 6, 10)).latent_dist.mean
    assert latents.shape == (1, 4, 3, 3, 5)
    assert vae.decode(latents).sample.shape == (1, 3, 3, 6, 10)
    with pytest.raises(RequestError, match="multiples of 2"):
        vae.encode(torch.zeros(1, 3, 3, 7, 10))
    vae.enable_tiling(tile_sample_min_size=8)
    assert vae.encode(torch.zeros(1, 3, 3, 6, 10)).latent_dist.mean.shape == (1, 4, 3, 3, 5)


@pytest.mark.usefixtures("no_grad")
def test_v3_chunk_sees_its_neighbours_and_no_others(build_random):
    vae = build_random("v3")
    z = torch.randn(1, 4, 8, 2, 2)
    clip = vae.decode(z).sample
    z[:, :, 6:] = 0
    changed = (vae.decode(z).sample - clip).abs().amax(dim=(0, 1, 3, 4))
    assert torch.equal(changed[:16], torch.zeros(16))
    assert (changed[16:24] > 0).all()


@pytest.mark.usefixtures("no_grad")
def test_v4_chunk_sees_what_came_before_and_nothing_later(build_random):
    vae = build_random("v4")
    z = torch.randn(1, 4, 6, 2, 2)
    clip = vae.decode(z).sample
    earlier, later = z.clone(), z.clone()
    earlier[:, :, :2] = 0
    later[:, :, 4:] = 0
    assert ((vae.decode(earlier).sample - clip).abs().amax(dim=(0, 1, 3, 4))[8:16] > 0).all()
    assert torch.equal(vae.decode(later).sample[:, :, :16], clip[:, :, :16])


@pytest.mark.parametrize("shape", [(1, 4, 8, 16, 16), (1, 3, 8, 16, 20), (1, 3, 0, 16, 16), (3, 8, 16, 16)])
def test_encode_refuses_what_does_not_fit(vae, shape):
    with pytest.raises(RequestError, match=r"\[batch, 3, frames, height, width\].*multiples of 8"):
        AutoencoderKLMagvit._prepare(vae, torch.zeros(shape), channels=3, multiple=8, kind="pixels")
    if len(shape) == 5:
        with pytest.raises(RequestError, match="pixels do not fit"):
            vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 2, 2, 2), (1, 4, 0, 2, 2)])
def test_decode_refuses_what_does_not_fit(vae, shape):
    with pytest.raises(RequestError, match="latents do not fit"):
        vae.decode(torch.zeros(shape))


@pytest.mark.parametrize(
    "changes",
    [
        {"act_fn": "gelu"},
        {"mid_block_type": "Other"},
        {"down_block_types": ("Other",)},
        {"up_block_types": ("SpatialDownBlock3D",)},
    ],
)
def test_unknown_configuration(changes):
    with pytest.raises(WeightsError):
        AutoencoderKLMagvit(**changes)


@pytest.mark.usefixtures("no_grad")
def test_upcast_computes_in_float32(case):
    vae = case.build(upcast_vae=True).to(torch.float16)
    decoded = vae.decode(case.inputs["z"].half()).sample
    assert decoded.dtype == torch.float32
    # Only the rounding of weights and latents to float16 remains.
    assert (decoded - case.outputs["decoded"]).abs().mean() < 0.01
    assert vae.encode(case.inputs["pixel_values"].half()).latent_dist.mean.dtype == torch.float32


@pytest.mark.usefixtures("no_grad")
def test_bfloat16_stays_bfloat16_and_near(case, vae):
    decoded = vae.to(torch.bfloat16).decode(case.inputs["z"].bfloat16()).sample
    assert decoded.dtype == torch.bfloat16
    assert (decoded.float() - case.outputs["decoded"]).abs().mean() < 0.1
