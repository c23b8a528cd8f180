"""What diffusers offers for its own VAEs works on this one, and changes nothing but where and how it runs."""

import pytest
import torch
from accelerate import infer_auto_device_map
from easyanimate_vae import AutoencoderKLMagvit


@pytest.mark.usefixtures("no_grad")
def test_save_and_load(case, vae, tmp_path):
    vae.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    loaded, info = AutoencoderKLMagvit.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == info["unexpected_keys"] == []
    assert {key: loaded.config[key] for key in vae.config if key[0] != "_"} == {
        key: value for key, value in vae.config.items() if key[0] != "_"
    }
    assert torch.equal(loaded.decode(case.inputs["z"]).sample, vae.decode(case.inputs["z"]).sample)
    half = AutoencoderKLMagvit.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


@pytest.mark.usefixtures("no_grad")
def test_layerwise_casting(case, vae):
    vae.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    conv = vae.decoder.up_blocks[0].convs[0].conv1
    assert conv.weight.dtype == torch.bfloat16
    assert vae.decoder.conv_norm_out.weight.dtype == torch.float32
    decoded = vae.decode(case.inputs["z"]).sample
    assert conv.weight.dtype == torch.bfloat16
    assert decoded.dtype == torch.float32
    assert 0 < (decoded - case.outputs["decoded"]).abs().mean() < 0.05


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("offload_type", ["block_level", "leaf_level"])
def test_group_offload(golden, offload_type, tmp_path):
    case = golden("vae_odd_and_partial")
    vae = case.build()
    # On a CPU alone "offloaded" means on disk: the parameters are empty between uses.
    vae.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=offload_type,
        num_blocks_per_group=1 if offload_type == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
    )
    for _ in range(2):
        decoded = vae.decode(case.inputs["z"]).sample
        torch.testing.assert_close(decoded, case.outputs["decoded"], atol=1e-4, rtol=0)
        mean = vae.encode(case.inputs["pixel_values"]).latent_dist.mean
        torch.testing.assert_close(mean, case.outputs["mean"], atol=1e-4, rtol=0)


def test_device_map_keeps_blocks_whole(vae):
    device_map = infer_auto_device_map(
        vae, max_memory={0: 300_000, "cpu": 10_000_000}, no_split_module_classes=vae._no_split_modules
    )
    assert len(set(device_map.values())) == 2
    assert not any(".norm1" in name or ".conv1" in name or ".to_q" in name for name in device_map)


@pytest.mark.parametrize("flavour", ["v2", "v3", "v4"])
def test_gradient_checkpointing_gives_the_same_gradients(build_random, flavour):
    vae = build_random(flavour).train()
    pixels = torch.rand(1, 3, 18 if flavour == "v2" else 16, 8, 16) * 2 - 1

    def gradients():
        vae.zero_grad()
        vae(pixels).sample.square().mean().backward()
        return {name: value.grad.clone() for name, value in vae.named_parameters() if value.grad is not None}

    plain = gradients()
    vae.enable_gradient_checkpointing()
    again = gradients()
    assert plain.keys() == again.keys()
    assert len(plain) == len(list(vae.parameters()))
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, msg=name)


def test_gradients_and_inference_agree(build_random):
    """Inference writes into its tensors where training may not: the numbers are the same."""
    vae = build_random("v4")
    z = torch.randn(1, 4, 4, 2, 3)
    with torch.no_grad():
        expected = vae.decode(z).sample
    torch.testing.assert_close(vae.decode(z).sample, expected, atol=1e-5, rtol=0)
