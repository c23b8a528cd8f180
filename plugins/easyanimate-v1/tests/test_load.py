"""Official folders load as they are, strictly; other folders are refused with what is wrong with them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from easyanimate_core import LoadOptions, WeightsError
from easyanimate_core.testing import PluginContract
from easyanimate_dit import Transformer3DModel
from easyanimate_dit.pixart.motion_module_file import load_motion_transformer
from easyanimate_v1.build import load_components
from easyanimate_v1.check import check_weights, find_files
from easyanimate_v1.config import EASYANIMATE_V1_TRANSFORMER
from easyanimate_vae import FrameAutoencoder
from safetensors import safe_open
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = "diffusion_pytorch_model.safetensors"


class TestPlugin(PluginContract):
    module = "easyanimate_v1.plugin"


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


@pytest.fixture
def options(own_checkpoint):
    """Of a checkpoint that a test may change."""
    return LoadOptions(weights=own_checkpoint, device="cpu")


@pytest.fixture
def motion_module(own_checkpoint):
    """Its motion module, where the original keeps it."""
    return own_checkpoint.parents[1] / "Motion_Module" / "easyanimate_v1_mm.safetensors"


def test_the_release_has_the_tensors_of_the_manifests():
    shapes = shapes_on_meta(Transformer3DModel, EASYANIMATE_V1_TRANSFORMER)
    assert shapes == manifest("transformer")
    assert {name: shape for name, shape in shapes.items() if "temporal" in name} == manifest("motion_module")
    blocks = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    }
    assert shapes_on_meta(FrameAutoencoder, blocks) == manifest("vae_autoencoderkl")


def test_the_motion_module_of_the_golden_file_is_merged(tmp_path):
    with safe_open(GOLDEN / "motion_module_split.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        configs = json.loads(file.metadata()["config"])
    config = configs["pixart_config"] | configs["transformer_additional_kwargs"]
    for part in ("pixart", "motion_module"):
        prefix = f"weights/{part}/"
        weights = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        (tmp_path / part).mkdir()
        save_file(weights, tmp_path / part / WEIGHTS)
    config.pop("_class_name")
    model = load_motion_transformer(
        config, tmp_path / "pixart", tmp_path / "motion_module" / WEIGHTS, dtype=torch.float32
    )
    inputs = {name.removeprefix("inputs/"): value for name, value in tensors.items() if name.startswith("inputs/")}
    sample = model(**inputs).sample
    torch.testing.assert_close(sample, tensors["outputs/sample_with_motion_module"], atol=1e-4, rtol=0)


def test_components_come_by_role(options, motion_module):
    components = load_components(options)
    assert set(components) == {"transformer", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert isinstance(components["vae"], FrameAutoencoder)
    name, expected = next(iter(load_file(motion_module).items()))
    assert torch.equal(components["transformer"].state_dict()[name], expected)


def test_a_motion_module_beside_the_weights_is_filled_in(options, motion_module):
    assert find_files(options).motion_module == motion_module


def test_the_folder_s_own_motion_module_comes_first_and_is_recorded_with_it(options, motion_module):
    own = options.weights / "motion_module"
    own.mkdir()
    weights = {name: torch.zeros_like(value) for name, value in load_file(motion_module).items()}
    save_file(weights, own / WEIGHTS)
    assert find_files(options).motion_module is None
    loaded = load_components(options)["transformer"].state_dict()
    assert not any(loaded[name].any() for name in weights)


def test_one_file_with_everything_needs_no_motion_module(options, motion_module):
    edit_weights(options.weights / "transformer" / WEIGHTS, lambda weights: weights.update(load_file(motion_module)))
    motion_module.unlink()
    assert find_files(options).motion_module is None
    load_components(options)


def test_a_personalised_transformer_replaces_that_of_the_folder(options, motion_module, tmp_path):
    portrait = tmp_path / "easyanimate_portrait.safetensors"
    shutil.copy(options.weights / "transformer" / WEIGHTS, portrait)
    edit_weights(
        portrait, lambda weights: weights.update({"proj_out.bias": torch.full_like(weights["proj_out.bias"], 7)})
    )
    given = LoadOptions(weights=options.weights, device="cpu", transformer=portrait)
    loaded = load_components(given)["transformer"].state_dict()
    assert (loaded["proj_out.bias"] == 7).all()
    name, expected = next(iter(load_file(motion_module).items()))
    assert torch.equal(loaded[name], expected)


def test_the_tables_of_pixart_s_files_are_passed_over(options):
    def add(weights):
        weights["pos_embed.pos_embed"] = torch.zeros(1, 4, 8)
        weights["caption_projection.y_embedding"] = torch.zeros(120, 8)

    edit_weights(options.weights / "transformer" / WEIGHTS, add)
    load_components(options)


def test_a_transformer_without_its_motion_module(options, motion_module):
    motion_module.unlink()
    with pytest.raises(
        WeightsError, match=r"without its motion module(?s:.*)wget https.*easyanimate_v1_mm.safetensors"
    ):
        load_components(options)


def test_several_motion_modules_need_a_choice(options, motion_module):
    shutil.copy(motion_module, motion_module.with_name("another.safetensors"))
    with pytest.raises(WeightsError, match=r"several motion modules(?s:.*)--motion-module .*another.safetensors"):
        load_components(options)
    chosen = LoadOptions(weights=options.weights, motion_module=motion_module)
    assert find_files(chosen).motion_module == motion_module


def test_a_motion_module_without_its_transformer(options, motion_module):
    with pytest.raises(WeightsError, match=r"motion module without its transformer(?s:.*)--motion-module"):
        check_weights(motion_module.parent)
    shutil.copy(motion_module, options.weights / "transformer" / WEIGHTS)
    with pytest.raises(WeightsError, match="motion module without its transformer"):
        check_weights(options.weights)
    with pytest.raises(WeightsError, match="motion module without its transformer"):
        find_files(LoadOptions(transformer=motion_module))


def test_a_transformer_given_as_a_motion_module(options):
    other = options.weights / "transformer" / WEIGHTS
    with pytest.raises(WeightsError, match=r"not the file of a motion module(?s:.*)--transformer"):
        find_files(LoadOptions(weights=options.weights, motion_module=other))


def test_a_file_that_is_not_there(options, tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        find_files(LoadOptions(weights=options.weights, motion_module=tmp_path / "nothing.safetensors"))


def test_a_motion_module_of_other_blocks(options, motion_module):
    edit_weights(motion_module, lambda weights: weights.pop(min(weights)))
    with pytest.raises(WeightsError, match="1 missing"):
        load_components(options)


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
