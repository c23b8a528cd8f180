"""Weights that do not fit are errors that list what is wrong."""

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_dit import HunyuanTransformer3DModel
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.usefixtures("no_grad")
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def saved(golden, tmp_path):
    """Folder of a saved model, and the model."""
    _, model = golden("transformer_t2v_no_time_pe_after_norm")
    model.save_pretrained(tmp_path)
    return tmp_path, model


def change(folder, edit):
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def test_a_missing_tensor_is_named(saved):
    folder, _ = saved
    change(folder, lambda weights: weights.pop("blocks.1.attn1.to_q.weight"))
    with pytest.raises(WeightsError, match=r"1 missing:\s+blocks\.1\.attn1\.to_q\.weight"):
        HunyuanTransformer3DModel.from_pretrained(folder)


def test_an_unexpected_tensor_is_named(saved):
    folder, _ = saved
    change(folder, lambda weights: weights.update({"loss.logvar": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"1 unexpected:\s+loss\.logvar"):
        HunyuanTransformer3DModel.from_pretrained(folder)


def test_all_misshapen_tensors_are_named(saved):
    folder, _ = saved

    def edit(weights):
        weights["proj_out.bias"] = torch.zeros(3)
        weights["blocks.0.norm2.bias"] = torch.zeros(5)

    change(folder, edit)
    with pytest.raises(WeightsError, match=r"2 of another shape:\s+blocks\.0\.norm2\.bias(?s:.*)proj_out\.bias"):
        HunyuanTransformer3DModel.from_pretrained(folder)


def test_configuration_values_can_be_overridden_as_the_originals_yaml_does(saved):
    folder, _ = saved
    with pytest.raises(WeightsError, match=r"4 unexpected:|8 unexpected:"):
        HunyuanTransformer3DModel.from_pretrained(folder, after_norm=False)
