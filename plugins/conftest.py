"""What the tests of all model plugins share: small checkpoints of the original's recorded cases, small requests."""

import json
import shutil

import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_pixart_checkpoint():
    """Function from a recorded case of V1 to V3, and a folder, to a checkpoint there, in the original's layout."""
    from safetensors import safe_open
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, T5Config, T5EncoderModel

    def write(case, folder):
        with safe_open(case, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            configs = json.loads(file.metadata()["config"])

        def take(role):
            prefix = f"weights/{role}/"
            tensors = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            config = {name: value for name, value in configs[role].items() if name != "class"}
            return tensors, config, configs[role].get("class", "Transformer3DModel")

        for role in ("transformer", "vae"):
            tensors, config, class_name = take(role)
            (folder / role).mkdir(parents=True)
            save_file(tensors, folder / role / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
            (folder / role / "config.json").write_text(json.dumps({"_class_name": class_name} | config))
        tensors, config, _ = take("text_encoder")
        models = {"text_encoder": (T5EncoderModel(T5Config(**config | {"is_encoder_decoder": False})), tensors)}
        if "clip_image_encoder" in configs:
            tensors, config, _ = take("clip_image_encoder")
            models["image_encoder"] = (CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), tensors)
        for role, (model, tensors) in models.items():
            model.load_state_dict(tensors)
            model.save_pretrained(folder / role)
        if "image_encoder" in models:
            processor = case.parent / "clip_image_processor" / "preprocessor_config.json"
            shutil.copy(processor, folder / "image_encoder")
        shutil.copytree(case.parent / "tokenizer", folder / "tokenizer")
        return folder

    return write


@pytest.fixture
def own_checkpoint(checkpoint, tmp_path):
    """A copy of the original's `models/` that a test may change; the folder of the checkpoint in it."""
    models = shutil.copytree(checkpoint.parents[1], tmp_path / "models")
    return models / checkpoint.parent.name / checkpoint.name


@pytest.fixture
def request_values():
    """What a plugin's small request has in place of 8 frames of 32 x 48 pixels."""
    return {}


@pytest.fixture
def make_request(request_values):
    """A small request, with changes."""
    from easyanimate_core import VideoRequest

    def make(**changes):
        values = {
            "prompt": "a small red boat",
            "num_frames": 8,
            "height": 32,
            "width": 48,
            "fps": 8,
            "num_inference_steps": 2,
            "guidance_scale": 4.0,
            "sampler": "euler",
        }
        return VideoRequest(**(values | request_values | changes))

    return make


@pytest.fixture
def picture():
    """Function from a seed to a smooth picture of odd size."""
    import torch

    def make(seed=0):
        noise = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
        smooth = torch.nn.functional.interpolate(noise, size=(37, 53), mode="bilinear")
        return np.ascontiguousarray((smooth[0].permute(1, 2, 0) * 255).byte().numpy())

    return make
