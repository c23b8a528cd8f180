"""Official folders load as they are, strictly; other folders are refused with what is wrong with them."""

import json
import logging
from pathlib import Path

import pytest
import torch
from easyanimate_core import LoadOptions, RequestError, WeightsError
from easyanimate_core.testing import PluginContract
from easyanimate_dit import Transformer3DModel
from easyanimate_v3.build import load_components
from easyanimate_v3.check import check_weights
from easyanimate_v3.config import EASYANIMATE_V3_VAE, EASYANIMATE_V3_XL_2_INP_TRANSFORMER
from easyanimate_vae import AutoencoderKLMagvit
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = "diffusion_pytorch_model.safetensors"


class TestPlugin(PluginContract):
    module = "easyanimate_v3.plugin"


def edit_config(path, **changes):
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def edit_weights(path, edit):
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


def shapes_on_meta(model_class, config):
    with torch.device("meta"):
        return {name: list(tensor.shape) for name, tensor in model_class.from_config(config).state_dict().items()}


def manifest(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def test_the_release_has_the_tensors_of_the_manifests():
    assert shapes_on_meta(Transformer3DModel, EASYANIMATE_V3_XL_2_INP_TRANSFORMER) == manifest("transformer_inp")
    assert shapes_on_meta(AutoencoderKLMagvit, EASYANIMATE_V3_VAE) == manifest("vae_magvit")


def test_components_come_by_role(checkpoint):
    components = load_components(LoadOptions(weights=checkpoint, device="cpu"))
    assert set(components) == {
        "transformer",
        "vae",
        "text_encoder",
        "tokenizer",
        "image_encoder",
        "image_processor",
        "scheduler",
    }
    assert components["transformer"].dtype == torch.float32


def test_what_the_configurations_leave_out_is_the_release(own_checkpoint):
    edit_config(own_checkpoint / "vae" / "config.json", slice_compression_vae=None, mini_batch_encoder=None)
    edit_config(own_checkpoint / "transformer" / "config.json", enable_uvit=None, basic_block_type=None)
    vae = load_components(LoadOptions(weights=own_checkpoint, device="cpu"))["vae"]
    assert (vae.config.mini_batch_encoder, vae.config.mini_batch_decoder) == (8, 2)
    assert (vae.config.slice_mag_vae, vae.config.slice_compression_vae) == (False, True)


def test_fields_of_the_trainer_in_the_configuration_do_not_matter(own_checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    edit_config(own_checkpoint / "transformer" / "config.json", inv_gamma=1.0, optimization_step=4400, qk_norm=False)
    edit_config(own_checkpoint / "vae" / "config.json", block_out_channels=[8, 8, 16, 16])
    load_components(LoadOptions(weights=own_checkpoint, device="cpu"))
    assert not caplog.records


def test_networks_of_the_vaes_training_are_passed_over(own_checkpoint):
    edit_weights(own_checkpoint / "vae" / WEIGHTS, lambda weights: weights.update({"loss.logvar": torch.zeros(1)}))
    load_components(LoadOptions(weights=own_checkpoint, device="cpu"))


def test_a_tensor_that_the_transformer_lacks_is_named(own_checkpoint):
    path = own_checkpoint / "transformer" / WEIGHTS
    edit_weights(path, lambda weights: weights.update({"surprise.weight": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"1 unexpected:\s+surprise.weight"):
        load_components(LoadOptions(weights=own_checkpoint, device="cpu"))


def test_a_transformer_file_replaces_that_of_the_folder(own_checkpoint, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file({"proj_out.bias": torch.full((32,), 7.0)}, path)
    options = LoadOptions(weights=own_checkpoint, device="cpu", transformer=path)
    assert (load_components(options)["transformer"].proj_out.bias == 7).all()


def test_a_motion_module_is_refused(checkpoint, tmp_path):
    with pytest.raises(RequestError, match=r"no motion module(?s:.*)--model v1"):
        load_components(LoadOptions(weights=checkpoint, motion_module=tmp_path / "mm.safetensors"))


@pytest.mark.parametrize("component", ["vae", "text_encoder"])
def test_unknown_and_missing_tensors_are_errors(own_checkpoint, component):
    path = next((own_checkpoint / component).glob("*.safetensors"))

    def edit(weights):
        weights.pop(min(name for name in weights if "norm" in name))
        weights["surprise.weight"] = torch.zeros(1)

    edit_weights(path, edit)
    with pytest.raises(WeightsError, match=r"1 missing(?s:.*)1 unexpected:\s+surprise.weight"):
        load_components(LoadOptions(weights=own_checkpoint, device="cpu"))


def test_a_missing_component_is_named(own_checkpoint):
    (own_checkpoint / "tokenizer").rename(own_checkpoint / "elsewhere")
    with pytest.raises(WeightsError, match="lacks tokenizer"):
        check_weights(own_checkpoint)


def test_a_cut_file_is_named(own_checkpoint):
    path = own_checkpoint / "transformer" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"incomplete: .*transformer"):
        check_weights(own_checkpoint)


def test_without_a_scheduler_the_settings_are_those_of_training(checkpoint):
    config = load_components(LoadOptions(weights=checkpoint, device="cpu"))["scheduler"].config
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.0001, 0.02, "linear")
    assert (config.steps_offset, config.prediction_type) == (1, "epsilon")


def test_the_vae_stays_in_float32_beside_float16(checkpoint):
    components = load_components(LoadOptions(weights=checkpoint, device="cpu", dtype="float16"))
    assert components["transformer"].dtype == torch.float16
    assert components["vae"].dtype == torch.float32


def test_a_transformer_that_takes_pictures_needs_their_encoder(own_checkpoint):
    (own_checkpoint / "image_encoder").rename(own_checkpoint / "elsewhere")
    with pytest.raises(WeightsError, match="lacks image_encoder"):
        check_weights(own_checkpoint)


def test_the_vae_of_v2_is_refused(own_checkpoint):
    edit_config(own_checkpoint / "vae" / "config.json", slice_mag_vae=True, slice_compression_vae=False)
    with pytest.raises(WeightsError, match=r"that of V2[\s\S]*slice_compression_vae: true"):
        check_weights(own_checkpoint)


def test_float16_on_a_cpu_says_nothing(checkpoint, caplog):
    from easyanimate_v3.build import load

    with caplog.at_level(logging.WARNING):
        load(LoadOptions(weights=checkpoint, device="cpu", dtype="float16"))
    assert not caplog.records
