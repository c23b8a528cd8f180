"""A small checkpoint in the official folder layout, from the weights of a golden case."""

import json
import shutil
from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_v2.build import load
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

GOLDEN = Path(__file__).parent / "golden"
CASE = GOLDEN / "pipeline_t2v_dpmpp.safetensors"


def read_case(prefix):
    """Tensors of the golden case, and its configurations."""
    with safe_open(CASE, "pt") as file:
        tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["config"])


def write_model(folder, config, weights):
    """A model of diffusers with its configuration as the golden case has it."""
    folder.mkdir(parents=True)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    written = {"_class_name": config["class"]} | {name: value for name, value in config.items() if name != "class"}
    (folder / "config.json").write_text(json.dumps(written))


def write_checkpoint(folder):
    """Write all components as the official checkpoint has them."""
    weights, config = read_case("weights/")

    def part(name):
        return {key.removeprefix(f"{name}/"): value for key, value in weights.items() if key.startswith(f"{name}/")}

    write_model(folder / "transformer", config["transformer"] | {"class": "Transformer3DModel"}, part("transformer"))
    write_model(folder / "vae", config["vae"], part("vae"))
    text_config = config["text_encoder"] | {"is_encoder_decoder": False}
    text = T5EncoderModel(T5Config(**{name: value for name, value in text_config.items() if name != "class"}))
    text.load_state_dict(part("text_encoder"))
    text.save_pretrained(folder / "text_encoder")
    shutil.copytree(GOLDEN / "tokenizer", folder / "tokenizer")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of a checkpoint in the original's `models/`; not to be changed."""
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "models" / "Diffusion_Transformer" / "v2")


@pytest.fixture
def own_checkpoint(checkpoint, tmp_path):
    """A copy of the original's `models/` that a test may change; the folder of the checkpoint in it."""
    models = shutil.copytree(checkpoint.parents[1], tmp_path / "models")
    return models / "Diffusion_Transformer" / "v2"


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The loaded model."""
    return load(LoadOptions(weights=checkpoint, device="cpu"))


@pytest.fixture
def make_request():
    """A small request, with changes."""

    def make(**changes):
        values = {
            "prompt": "a small red boat",
            "num_frames": 9,
            "height": 32,
            "width": 48,
            "fps": 8,
            "num_inference_steps": 2,
            "guidance_scale": 4.0,
            "sampler": "euler",
        }
        return VideoRequest(**(values | changes))

    return make
