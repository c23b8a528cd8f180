"""V4 as a release: its folders, strictly loaded; its clips."""

import json
from pathlib import Path

import torch
from easyanimate_core import WeightsFolder
from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_core.weights_folder import complete_config
from easyanimate_dit.testing import ReleaseContract, edit_config, read_weights
from easyanimate_v4.config import EASYANIMATE_V4_VAE
from easyanimate_v4.plugin import V4
from safetensors.torch import load_file

PACKAGES = Path(__file__).parents[3] / "packages"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_manifest(path):
    return json.loads((PACKAGES / path).read_text())


class TestPlugin(PluginContract):
    module = "easyanimate_v4.plugin"


class TestPipeline(PipelineContract):
    request_values = {"height": 32, "width": 48}


class TestRelease(ReleaseContract):
    release = V4
    manifests = {
        "transformer": read_manifest("easyanimate-dit/tests/golden/v4_transformer_inp.json")["shapes"],
        "vae": read_manifest("easyanimate-vae/tests/golden/manifest_v2_v3_v4.json"),
    }
    extras = {"vae": "loss.logvar", "text_encoder": "cls.predictions.bias", "text_encoder_2": "lm_head.weight"}


def test_a_text_transformer_needs_no_image_encoder(own_checkpoint):
    (own_checkpoint / "image_encoder").rename(own_checkpoint / "elsewhere")
    edit_config(own_checkpoint / "transformer", in_channels=4)
    V4.check_weights(WeightsFolder(own_checkpoint))


def test_pickled_weights_and_a_whole_clip_model_load(own_checkpoint):
    folder = own_checkpoint / "image_encoder"
    weights = read_weights(folder)
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
    components = TestRelease().load(own_checkpoint)
    name, tensor = next(iter(weights.items()))
    assert torch.equal(components["image_encoder"].state_dict()[name], tensor)


def test_configurations_of_the_2d_models_give_way_to_the_release():
    """Class names and block types of the models that checkpoints were trained from stand in some of their folders."""
    written = {"_class_name": "AutoencoderKL", "down_block_types": ["DownEncoderBlock2D"] * 4, "scaling_factor": 0.13}
    assert complete_config(written, "AutoencoderKLMagvit", EASYANIMATE_V4_VAE) == EASYANIMATE_V4_VAE
    own = {"_class_name": "AutoencoderKLMagvit", "scaling_factor": 0.5}
    assert complete_config(own, "AutoencoderKLMagvit", EASYANIMATE_V4_VAE)["scaling_factor"] == 0.5
