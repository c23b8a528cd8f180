"""The transformer gives the original's numbers and has its parameters."""

import json
from pathlib import Path

import pytest
import torch
from easyanimate_dit import HunyuanTransformer3DModel

pytestmark = pytest.mark.usefixtures("no_grad")

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("transformer_*.safetensors") if "bf16" not in path.stem)


@pytest.mark.parametrize("name", CASES)
def test_float32_equals_the_original(golden, name):
    case, model = golden(name)
    (sample,) = model(**case.inputs, return_dict=False)
    torch.testing.assert_close(sample, case.outputs["sample"], atol=1e-4, rtol=0)


def test_bfloat16_error_is_within_twice_the_originals(golden):
    case, model = golden("transformer_t2v_bf16")
    inputs = {
        key: value.bfloat16() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in case.inputs.items()
    }
    sample = model.bfloat16()(**inputs).sample
    assert sample.dtype == torch.bfloat16
    exact = case.outputs["sample_fp32"]
    allowed = 2 * (case.outputs["sample_bf16"] - exact).abs()
    error = (sample.float() - exact).abs()
    assert error.max() <= allowed.max()
    assert error.mean() <= allowed.mean()


def test_every_block_equals_the_original(golden):
    case, model = golden("transformer_inp_video")
    seen = {}
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(
            lambda _module, _inputs, output, index=index: seen.update({f"intermediate.blocks.{index}": output})
        )
    model(**case.inputs)
    assert len(seen) == 4
    for key, value in seen.items():
        torch.testing.assert_close(value, case.outputs[key], atol=1e-4, rtol=0)


def test_fixed_tables_are_the_originals(golden):
    case, _ = golden("transformer_inp_video")
    fresh = HunyuanTransformer3DModel.from_config(case.config).state_dict()
    for key in ("blocks.3.t_embed.pe", "clip_projection.pos_embed"):
        torch.testing.assert_close(fresh[key], case.weights[key], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", ["inp", "t2v"])
def test_official_configuration_has_exactly_the_official_parameters(variant):
    manifest = json.loads((GOLDEN / f"v4_transformer_{variant}.json").read_text())
    with torch.device("meta"):
        model = HunyuanTransformer3DModel.from_config(manifest["config"])
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == manifest["shapes"]


def test_defaults_are_the_official_inpainting_model():
    manifest = json.loads((GOLDEN / "v4_transformer_inp.json").read_text())
    with torch.device("meta"):
        model = HunyuanTransformer3DModel()
    assert {key: model.config[key] for key in manifest["config"]} == manifest["config"]
