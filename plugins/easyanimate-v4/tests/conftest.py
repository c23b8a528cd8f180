"""A small checkpoint of V4, from the weights of the recorded cases."""

import json
import shutil
from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, WeightsFolder
from jaxtyping import install_import_hook
from safetensors import safe_open
from transformers import (
    BertConfig,
    BertModel,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

# The shape annotations of the pipeline are checked while these tests run.
with install_import_hook(["easyanimate_dit.sampling.latent", "easyanimate_dit.sampling.guidance"], "beartype.beartype"):
    from easyanimate_dit import HunyuanTransformer3DModel
    from easyanimate_v4.plugin import V4
    from easyanimate_vae import AutoencoderKLMagvit

GOLDEN = Path(__file__).parent / "golden"


def build_component(file_name, component, build):
    """A model with golden weights."""
    with safe_open(GOLDEN / f"{file_name}.safetensors", "pt") as file:
        prefix = f"weights/{component}/"
        weights = {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])[component]
    model = build(config)
    model.load_state_dict(weights, strict=True)
    return model.eval()


def write_checkpoint(folder, transformer_file="pipeline_weights_transformer_inp"):
    """Write all components as the official checkpoint has them."""
    text = "pipeline_weights_text"
    models = {
        "transformer": build_component(transformer_file, "transformer", HunyuanTransformer3DModel.from_config),
        "vae": build_component("pipeline_weights_vae", "vae", AutoencoderKLMagvit.from_config),
        "text_encoder": build_component(text, "text_encoder", lambda config: BertModel(BertConfig(**config))),
        "text_encoder_2": build_component(text, "text_encoder_2", lambda config: T5EncoderModel(T5Config(**config))),
        "image_encoder": build_component(
            text, "image_encoder", lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        ),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
    with safe_open(GOLDEN / f"{text}.safetensors", "pt") as file:
        CLIPImageProcessorPil(**json.loads(file.metadata()["config"])["image_processor"]).save_pretrained(
            folder / "image_encoder"
        )
    with safe_open(GOLDEN / "pipeline_t2v_euler_a.safetensors", "pt") as file:
        scheduler = json.loads(file.metadata()["config"])["scheduler_config"]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(GOLDEN / "tokenizers" / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of an inpainting checkpoint in the original's `models/`; not to be changed."""
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "models" / "Diffusion_Transformer" / "v4")


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The loaded model."""
    return V4.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu"))
