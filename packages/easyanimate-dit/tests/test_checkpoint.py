"""Weights that do not fit are errors that list what is wrong; a training may start from related weights."""

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.checkpoint import initialize_from, load_weights, read_weights
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


def test_one_file_is_loaded_strictly(saved, tmp_path):
    folder, model = saved
    fresh = HunyuanTransformer3DModel.from_config(model.config)
    load_weights(fresh, folder / WEIGHTS)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), model.state_dict().values(), strict=True))
    torch.save({"state_dict": dict(model.state_dict())}, tmp_path / "model.pt")
    load_weights(fresh, tmp_path / "model.pt")
    change(folder, lambda weights: weights.pop("proj_out.bias"))
    with pytest.raises(WeightsError, match="1 missing"):
        load_weights(fresh, folder / WEIGHTS)


def test_unreadable_files_are_errors(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "half.safetensors").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "half.safetensors")


def test_inpainting_training_starts_from_a_text_model(golden):
    case, model = golden("transformer_t2v_no_time_pe_after_norm")
    larger = HunyuanTransformer3DModel.from_config({**case.config, "in_channels": 12})
    left = initialize_from(larger, model.state_dict())
    assert all("clip" in name for name in left)
    kernel = larger.pos_embed.proj.weight
    assert torch.equal(kernel[:, :4], model.pos_embed.proj.weight)
    assert kernel[:, 4:].count_nonzero() == 0
    smaller = HunyuanTransformer3DModel.from_config(case.config)
    assert initialize_from(smaller, larger.state_dict()) == []
    assert torch.equal(smaller.pos_embed.proj.weight, model.pos_embed.proj.weight)
    with pytest.raises(WeightsError, match="shares no tensor"):
        initialize_from(smaller, {"other": torch.zeros(1)})


def test_a_text_model_continued_for_inpainting_starts_with_the_same_function(golden):
    case, model = golden("transformer_t2v_no_time_pe_after_norm")
    larger = HunyuanTransformer3DModel.from_config({**case.config, "in_channels": 12}).eval()
    initialize_from(larger, model.state_dict())
    latents = case.inputs["hidden_states"]
    sample = larger(
        **case.inputs,
        inpaint_latents=torch.randn(2, 8, *latents.shape[2:]),
        clip_encoder_hidden_states=torch.randn(2, 9, case.config["projection_dim"]),
        clip_attention_mask=torch.ones(2, case.config["n_query"]),
    ).sample
    torch.testing.assert_close(sample, case.outputs["sample"], atol=1e-4, rtol=0)
