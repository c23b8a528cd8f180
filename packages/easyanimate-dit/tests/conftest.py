"""Golden cases of the transformer tests: inputs, weights and outputs of the original implementation."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook
from safetensors import safe_open

# Every shape annotation of the transformer is checked while the tests run.
_CHECKED = ("hunyuan", "hunyuan_block", "attention", "embedding", "normalization", "rotary", "motion_module")
_CHECKED += ("pixart", "pixart_block", "pixart_attention", "pixart_embedding")
with install_import_hook([f"easyanimate_dit.{name}" for name in _CHECKED], "beartype.beartype"):
    from easyanimate_dit.hunyuan import HunyuanTransformer3DModel
    from easyanimate_dit.pixart import Transformer3DModel

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
