"""Golden cases of the transformers, and small pipelines of random parts (`tiny_dit`)."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from easyanimate_core import VideoRequest
from jaxtyping import install_import_hook
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import `tiny_dit`

# Every shape annotation of the networks is checked while the tests run.
_CHECKED = ("hunyuan", "pixart", "attention", "embedding", "normalization", "sampling.latent", "sampling.guidance")
with install_import_hook([f"easyanimate_dit.{name}" for name in _CHECKED], "beartype.beartype"):
    import tiny_dit
    from easyanimate_dit.hunyuan import HunyuanTransformer3DModel
    from easyanimate_dit.pixart import Transformer3DModel
    from easyanimate_dit.sampling.request_pipeline import RequestPipeline

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenCase:
    metadata: dict
    weights: dict
    inputs: dict
    outputs: dict

    @property
    def config(self) -> dict:
        return json.loads(self.metadata["config"])


def _read(path: Path) -> tuple[dict, dict]:
    with safe_open(path, "pt") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)


def _strip(tensors: dict, prefix: str) -> dict:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def load_golden(name: str) -> GoldenCase:
    metadata, tensors = _read(GOLDEN / f"{name}.safetensors")
    weights_file = metadata.get("weights_file")
    source = tensors if weights_file is None else _read(GOLDEN / weights_file)[1]
    inputs = _strip(tensors, "inputs/")
    if "image_rotary_emb_cos" in inputs:
        inputs["image_rotary_emb"] = inputs.pop("image_rotary_emb_cos"), inputs.pop("image_rotary_emb_sin")
    return GoldenCase(metadata, _strip(source, "weights/"), inputs, _strip(tensors, "outputs/"))


def build_golden_model(case: GoldenCase) -> HunyuanTransformer3DModel:
    model = HunyuanTransformer3DModel.from_config(case.config).eval()
    model.load_state_dict(case.weights, strict=True)
    return model


@pytest.fixture
def load_case():
    """Function from a case name to the case."""
    return load_golden


@pytest.fixture
def golden():
    """Function from a case name to (case, model with its weights)."""

    def get(name: str) -> tuple[GoldenCase, HunyuanTransformer3DModel]:
        case = load_golden(name)
        return case, build_golden_model(case)

    return get


@pytest.fixture
def golden_pixart():
    """The same for the transformer of V1 to V3."""

    def get(name: str) -> tuple[GoldenCase, Transformer3DModel]:
        case = load_golden(name)
        model = Transformer3DModel.from_config(case.config).eval()
        model.load_state_dict(case.weights, strict=True)
        return case, model

    return get


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(params=["hunyuan", "pixart"])
def kind(request):
    """Which transformer a small pipeline has; a test takes both unless it says which."""
    return request.param


@pytest.fixture
def pipe(kind):
    """A small sampling pipeline, of the test alone."""
    built = tiny_dit.build_pipeline(tiny_dit.build_components(kind))
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture
def pipeline(pipe):
    """The same for requests."""
    return RequestPipeline(pipe)


@pytest.fixture
def make_request():
    """A small request, with changes."""

    def make(**changes):
        values = {
            "prompt": "a boat",
            "num_frames": 8,
            "height": 32,
            "width": 48,
            "fps": 8,
            "num_inference_steps": 2,
            "guidance_scale": 4.0,
            "sampler": "euler",
        }
        return VideoRequest(**(values | changes))

    return make


@pytest.fixture
def picture():
    """Function from a seed to a smooth picture of odd size."""

    def make(seed=0):
        noise = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
        smooth = torch.nn.functional.interpolate(noise, size=(37, 53), mode="bilinear")
        return np.ascontiguousarray((smooth[0].permute(1, 2, 0) * 255).byte().numpy())

    return make
