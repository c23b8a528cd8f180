"""The transformer of V1 to V3 gives the original's numbers and has its parameters."""

import json
from pathlib import Path

import pytest
import torch
from easyanimate_dit import Transformer3DModel

pytestmark = pytest.mark.usefixtures("no_grad")

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("v[123]_transformer_*.safetensors"))
MANIFEST = json.loads((GOLDEN / "v1_v2_v3_transformers.json").read_text())
STEP = ("hidden_states", "timestep", "inpaint_latents")


def split(inputs):
    """The inputs of a step, and the conditions."""
    return (
        {name: value for name, value in inputs.items() if name in STEP},
        {name: value for name, value in inputs.items() if name not in STEP},
    )


@pytest.mark.parametrize("name", CASES)
def test_float32_equals_the_original(golden_pixart, name):
    case, model = golden_pixart(name)
    torch.testing.assert_close(model(**case.inputs).sample, case.outputs["sample"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_a_condition_encoded_before_gives_the_same(golden_pixart, name):
    case, model = golden_pixart(name)
    step, conditions = split(case.inputs)
    condition = model.encode_condition(**conditions)
    torch.testing.assert_close(model(**step, condition=condition).sample, case.outputs["sample"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in CASES if "cond128" not in name])
@pytest.mark.parametrize("row", [0, 1])
def test_a_single_prompt_needs_no_mask(golden_pixart, name, row):
    case, model = golden_pixart(name)
    step, conditions = split({key: value[row : row + 1] for key, value in case.inputs.items()})
    condition = model.encode_condition(**conditions)
    assert condition.bias is None
    sample = model(**step, condition=condition).sample
    torch.testing.assert_close(sample, case.outputs["sample"][row : row + 1], atol=1e-4, rtol=0)


def test_sizes_are_taken_as_the_original_gave_them(golden_pixart):
    case, model = golden_pixart("v2_transformer_cond128")
    inputs = dict(case.inputs)
    sizes = {name: inputs.pop(name) for name in ("resolution", "aspect_ratio")}
    sample = model(**inputs, added_cond_kwargs=sizes).sample
    torch.testing.assert_close(sample, case.outputs["sample"], atol=1e-4, rtol=0)


def test_bfloat16_stays_near(golden_pixart):
    case, model = golden_pixart("v3_transformer_inp_i2v")
    inputs = {name: value.bfloat16() if value.is_floating_point() else value for name, value in case.inputs.items()}
    sample = model.bfloat16()(**inputs).sample
    assert sample.dtype == torch.bfloat16
    assert (sample.float() - case.outputs["sample"]).abs().mean() < 0.05 * case.outputs["sample"].abs().mean()


@pytest.mark.parametrize("variant", MANIFEST)
def test_official_configuration_has_exactly_the_official_parameters(variant):
    manifest = MANIFEST[variant]
    with torch.device("meta"):
        model = Transformer3DModel.from_config(manifest["config"])
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert len(shapes) == manifest["num_tensors"]
    assert len(model.transformer_blocks) == manifest["num_blocks"]
    # The manifest keeps two blocks; even ones are alike, and so are odd ones.
    for name, shape in shapes.items():
        parts = name.split(".")
        if parts[0] == "transformer_blocks":
            parts[1] = str(int(parts[1]) % 2)
        assert manifest["shapes"][".".join(parts)] == shape
