"""What is of one version and given to another model: the error names the one that it is of."""

import json

import pytest
import torch
from easyanimate_core import RequestError, WeightsError, WeightsFolder
from easyanimate_core.part_files import check_part_files
from easyanimate_core.registry import load_plugins
from easyanimate_core.weights import check_weights
from easyanimate_dit.lora.target import find_models
from safetensors.torch import save_file

HELD = {
    "v1": {"_class_name": "Transformer3DModel", "motion_module_type": "VanillaGrid"},
    "v2": {"_class_name": "Transformer3DModel", "motion_module_type": "Vanilla", "enable_uvit": True},
    "v3": {"_class_name": "Transformer3DModel", "basic_block_type": "global_motionmodule", "in_channels": 12},
    "v4": {"_class_name": "HunyuanTransformer3DModel", "in_channels": 12},
}
OTHER = {"_class_name": "EasyAnimateTransformer3DModel"}  # V5
TEXT_V3 = {"_class_name": "Transformer3DModel", "basic_block_type": "global_motionmodule", "enable_uvit": True}
IMAGE_MODEL = {"_class_name": "Transformer2DModel"}


@pytest.fixture
def write(tmp_path):
    """Function from configurations and names of tensors, by role, to a folder."""

    def make(configs, **tensors):
        for role, config in configs.items():
            (tmp_path / role).mkdir()
            (tmp_path / role / "config.json").write_text(json.dumps(config))
        for role, (name, shape) in tensors.items():
            (tmp_path / role).mkdir(exist_ok=True)
            save_file({name: torch.zeros(shape)}, tmp_path / role / "diffusion_pytorch_model.safetensors")
        return WeightsFolder(tmp_path)

    return make


def refuse(folder, asked):
    """What the error says when a folder is checked for a model."""
    models = load_plugins().models()
    with pytest.raises(WeightsError) as caught:
        check_weights(folder, models[asked], models.values())
    return caught.value


@pytest.mark.parametrize("asked", HELD)
@pytest.mark.parametrize("held", HELD)
def test_every_mix_of_folders(write, held, asked):
    error = refuse(write({"transformer": HELD[held]}), asked)
    if held == asked:
        assert "lacks vae" in error.message
    else:
        assert error.received == f"weights of {held}"
        assert f"--model {held}" in (error.fix or "")


@pytest.mark.parametrize("asked", HELD)
def test_a_class_of_none_of_them_is_named(write, asked):
    error = refuse(write({"transformer": OTHER}), asked)
    assert error.received == "a transformer of the class EasyAnimateTransformer3DModel"


@pytest.mark.parametrize(
    ("configs", "tensors", "held"),
    [
        # The class is that of the image model in all of these: the weights and the VAE tell.
        ({"transformer": IMAGE_MODEL}, {}, "v1"),
        ({"transformer": IMAGE_MODEL}, {"vae": ("encoder.conv_in.weight", (8, 3, 3, 3))}, "v1"),
        ({"transformer": IMAGE_MODEL}, {"transformer": ("long_connect_fc.0.weight", (2, 2))}, "v2"),
        ({"transformer": IMAGE_MODEL}, {"transformer": ("transformer_blocks.0.attn_temporal.x.weight", (2,))}, "v2"),
        ({"transformer": IMAGE_MODEL}, {"transformer": ("clip_projection.linear_1.weight", (2, 2))}, "v3"),
        ({"transformer": IMAGE_MODEL, "vae": {"slice_mag_vae": True}}, {}, "v2"),
        ({"transformer": IMAGE_MODEL, "vae": {"slice_compression_vae": True}}, {}, "v3"),
        ({"transformer": {"_class_name": "PixArtTransformer2DModel"}}, {}, "v1"),
        # A V3 without pictures has long skips as V2 has.
        ({"transformer": TEXT_V3}, {"transformer": ("long_connect_fc.0.weight", (2, 2))}, "v3"),
    ],
)
def test_versions_that_share_a_class_are_told_by_their_signs(write, configs, tensors, held):
    folder = write(configs, **tensors)
    sure = {key: model.identify(folder) for key, model in load_plugins().models().items() if model.identify}
    assert [key for key in sure if sure[key] == max(sure.values())] == [held]


def test_a_folder_without_a_configuration_is_nobody_s(tmp_path):
    folder = WeightsFolder(tmp_path)
    assert not any(model.identify(folder) for model in load_plugins().models().values() if model.identify)


@pytest.mark.parametrize("key", HELD)
def test_whole_lora_files_are_of_one_version(key):
    targets = load_plugins().model(key).list_lora_targets()
    assert find_models("transformer", targets["transformer"]) == (key,)
    expected = ("v4",) if key == "v4" else ("v1", "v2", "v3")
    assert find_models("text_encoder", targets["text_encoder"]) == expected


@pytest.mark.parametrize("key", ["v2", "v3", "v4"])
def test_a_motion_module_is_of_v1(tmp_path, key):
    path = tmp_path / "motion_module.safetensors"
    save_file({"transformer_blocks.0.attn_temporal.proj_in.weight": torch.zeros(2, 2)}, path)
    models = load_plugins().models()
    with pytest.raises(RequestError, match=f"{key} takes no file for motion_module"):
        check_part_files({"motion_module": path}, models[key], models.values())
    with pytest.raises(WeightsError, match=r"motion module of v1(?s:.*)--model v1 --motion-module"):
        check_part_files({"transformer": path}, models[key], models.values())
    check_part_files({"motion_module": path}, models["v1"], models.values())


def test_v1_tells_a_transformer_from_a_motion_module(tmp_path):
    path = tmp_path / "transformer.safetensors"
    save_file({"proj_out.bias": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"not the motion module of v1(?s:.*)--transformer"):
        check_part_files({"motion_module": path}, load_plugins().model("v1"))
    check_part_files({"transformer": path}, load_plugins().model("v1"))
