"""Official folders load as they are, strictly; other folders are refused with what they are."""

import json
import subprocess
import sys

import pytest
import torch
from easyanimate_core import LoadOptions, LoraFile, RequestError, WeightsError
from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.weights_folder import complete_config
from easyanimate_v4.build import load, load_components
from easyanimate_v4.check import check_weights
from easyanimate_v4.config import EASYANIMATE_V4_VAE
from safetensors.torch import load_file, save_file

WEIGHTS = "diffusion_pytorch_model.safetensors"


def edit_config(path, **changes):
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def edit_weights(path, edit):
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_the_plugin_is_torch_free():
    code = (
        "import sys, easyanimate_v4.plugin as p; list(p.ea_models()); list(p.ea_weights());"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'numpy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (our own code)
    assert found.stdout.strip() == "[]"


def test_the_model_is_offered():
    from easyanimate_v4 import plugin

    (spec,) = plugin.ea_models()
    (source,) = plugin.ea_weights()
    assert hasattr(plugin.ea_models, f"{PROJECT}_impl")
    assert spec.key == source.model == "v4"
    assert spec.samplers == ("euler", "euler_a", "dpm++", "pndm", "ddim", "lcm")
    assert source.hub_id == "alibaba-pai/EasyAnimateV4-XL-2-InP"


def test_components_come_by_role(checkpoint):
    components = load_components(LoadOptions(weights=checkpoint, device="cpu"))
    assert set(components) == {
        "transformer",
        "vae",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "image_encoder",
        "image_processor",
        "scheduler",
    }
    assert components["transformer"].dtype == torch.float32


def test_the_vae_stays_in_float32_beside_float16(checkpoint):
    components = load_components(LoadOptions(weights=checkpoint, device="cpu", dtype="float16"))
    assert components["transformer"].dtype == torch.float16
    assert components["vae"].dtype == torch.float32


def test_pickled_weights_and_a_whole_clip_model_load(own_checkpoint):
    folder = own_checkpoint / "image_encoder"
    weights = load_file(folder / "model.safetensors")
    extras = {
        "text_model.embeddings.token_embedding.weight": torch.zeros(3, 4),
        "text_projection.weight": torch.zeros(2, 2),
        "logit_scale": torch.zeros(()),
        "vision_model.embeddings.position_ids": torch.zeros(1, 17, dtype=torch.long),
    }
    torch.save(weights | extras, folder / "pytorch_model.bin")
    vision = json.loads((folder / "config.json").read_text())
    whole = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": vision["projection_dim"]}
    (folder / "config.json").write_text(json.dumps(whole | {"vision_config": vision, "text_config": {}}))
    (folder / "model.safetensors").unlink()
    transformer = own_checkpoint / "transformer"
    torch.save(load_file(transformer / WEIGHTS), transformer / "diffusion_pytorch_model.bin")
    (transformer / WEIGHTS).unlink()
    components = load_components(LoadOptions(weights=own_checkpoint, device="cpu"))
    name, tensor = next(iter(weights.items()))
    assert torch.equal(components["image_encoder"].state_dict()[name], tensor)


def test_networks_of_the_vaes_training_are_passed_over(own_checkpoint):
    edit_weights(own_checkpoint / "vae" / WEIGHTS, lambda weights: weights.update({"loss.logvar": torch.zeros(1)}))
    load_components(LoadOptions(weights=own_checkpoint, device="cpu"))


@pytest.mark.parametrize("component", ["vae", "text_encoder", "text_encoder_2", "transformer"])
def test_unknown_and_missing_tensors_are_errors(own_checkpoint, component):
    path = next((own_checkpoint / component).glob("*.safetensors"))

    def edit(weights):
        weights.pop(min(name for name in weights if "norm" in name.lower() or "Norm" in name))
        weights["surprise.weight"] = torch.zeros(1)

    edit_weights(path, edit)
    with pytest.raises(WeightsError, match=r"1 missing(?s:.*)1 unexpected:\s+surprise.weight"):
        load_components(LoadOptions(weights=own_checkpoint, device="cpu"))


def test_what_the_configuration_leaves_out_is_the_release(own_checkpoint):
    edit_config(own_checkpoint / "vae" / "config.json", cache_compression_vae=None, slice_mag_vae=None)
    edit_config(own_checkpoint / "transformer" / "config.json", basic_block_type=None, after_norm=None)
    components = load_components(LoadOptions(weights=own_checkpoint, device="cpu"))
    assert components["vae"].config.cache_compression_vae
    assert not components["vae"].config.slice_mag_vae


def test_configurations_of_the_2d_models_give_way_to_the_release():
    """Class names and block types of the models that checkpoints were trained from stand in some of their folders."""
    written = {"_class_name": "AutoencoderKL", "down_block_types": ["DownEncoderBlock2D"] * 4, "scaling_factor": 0.13}
    assert complete_config(written, "AutoencoderKLMagvit", EASYANIMATE_V4_VAE) == EASYANIMATE_V4_VAE
    own = {"_class_name": "AutoencoderKLMagvit", "scaling_factor": 0.5}
    assert complete_config(own, "AutoencoderKLMagvit", EASYANIMATE_V4_VAE)["scaling_factor"] == 0.5


def test_a_transformer_file_replaces_that_of_the_folder(checkpoint, tmp_path):
    path = tmp_path / "mine.safetensors"
    bias = load_components(LoadOptions(weights=checkpoint, device="cpu"))["transformer"].proj_out.bias
    save_file({"proj_out.bias": torch.full_like(bias, 7.0)}, path)
    options = LoadOptions(weights=checkpoint, device="cpu", transformer=path)
    assert (load_components(options)["transformer"].proj_out.bias == 7).all()


def test_a_motion_module_is_refused(checkpoint, tmp_path):
    with pytest.raises(RequestError, match=r"no motion module(?s:.*)--model v1"):
        load_components(LoadOptions(weights=checkpoint, motion_module=tmp_path / "mm.safetensors"))


def test_a_missing_component_is_named(own_checkpoint):
    (own_checkpoint / "tokenizer_2").rename(own_checkpoint / "elsewhere")
    with pytest.raises(WeightsError, match="lacks tokenizer_2"):
        check_weights(own_checkpoint)


def test_a_cut_file_is_named(own_checkpoint):
    path = own_checkpoint / "text_encoder_2" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"incomplete: .*text_encoder_2"):
        load(LoadOptions(weights=own_checkpoint, device="cpu"))


def test_whole_weights_are_accepted(checkpoint):
    check_weights(checkpoint)


def write_lora(path, name):
    tensors = {
        f"{name}.lora_down.weight": torch.ones(2, 24),
        f"{name}.lora_up.weight": torch.ones(24, 2),
        f"{name}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, path)
    return path


def test_a_lora_is_merged(checkpoint, tmp_path):
    path = write_lora(tmp_path / "lora.safetensors", "lora_unet__blocks_0_attn1_to_q")
    options = LoadOptions(weights=checkpoint, device="cpu")
    plain = load_components(options)["transformer"].state_dict()
    merged = load_components(LoadOptions(weights=checkpoint, device="cpu", loras=(LoraFile(path, 0.5),)))[
        "transformer"
    ].state_dict()
    changed = [name for name, value in plain.items() if not torch.equal(value, merged[name])]
    assert changed == ["blocks.0.attn1.to_q.weight"]
    # multiplier * alpha / rank * (up @ down)
    assert torch.allclose(merged[changed[0]] - plain[changed[0]], torch.full((24, 24), 0.5 * 2.0 / 2 * 2), atol=1e-5)


def test_a_lora_that_matches_nothing_is_an_error(checkpoint, tmp_path):
    path = write_lora(tmp_path / "lora.safetensors", "lora_unet__elsewhere_to_q")
    with pytest.raises(WeightsError, match="no counterpart"):
        load(LoadOptions(weights=checkpoint, device="cpu", loras=(LoraFile(path),)))
