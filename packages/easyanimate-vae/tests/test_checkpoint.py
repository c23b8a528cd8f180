"""Loading the original's files: known extras pass, everything else that does not fit is listed."""

import json

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_vae.checkpoint import load_original
from safetensors.torch import save_file


@pytest.fixture
def folder(case, tmp_path):
    """An original's VAE folder; `write` puts weights into it."""
    (tmp_path / "config.json").write_text(json.dumps(case.config))
    return tmp_path


@pytest.fixture
def weights(case):
    extras = {"loss.discriminator.main.0.weight": torch.zeros(4), "loss.perceptual_loss.lin0.weight": torch.zeros(2)}
    return dict(case.weights) | extras


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("suffix", ["safetensors", "bin", "pt"])
def test_every_file_kind(case, folder, weights, suffix):
    path = folder / f"diffusion_pytorch_model.{suffix}"
    if suffix == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if suffix == "pt" else weights, path)
    vae = load_original(folder)
    assert not vae.training
    torch.testing.assert_close(vae.decode(case.inputs["z"]).sample, case.outputs["decoded"], atol=1e-4, rtol=0)
    half = load_original(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_what_does_not_fit_is_listed(folder, weights):
    del weights["decoder.conv_in.bias"]
    weights["encoder.conv_out.bias"] = torch.zeros(3)
    weights["decoder.other.weight"] = torch.zeros(1)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError) as error:
        load_original(folder)
    text = str(error.value)
    assert "1 missing: decoder.conv_in.bias" in text
    assert "1 unknown: decoder.other.weight" in text
    assert "1 of another shape: encoder.conv_out.bias: (3,) instead of (8,)" in text
    assert "loss.discriminator" not in text


def test_extras_are_refused_where_none_are_known(folder, weights):
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError, match=r"2 unknown: loss\.discriminator"):
        load_original(folder, extras=())


def test_settings_of_the_release_fill_what_the_file_leaves_out(folder, weights):
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    vae = load_original(folder, release={"spatial_group_norm": True, "scaling_factor": 1.0})
    assert vae.config.spatial_group_norm
    assert vae.config.scaling_factor == 0.1825


def test_missing_and_damaged_files(folder, weights):
    with pytest.raises(WeightsError, match="weights of the VAE are missing"):
        load_original(folder)
    path = folder / "diffusion_pytorch_model.safetensors"
    save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="incomplete"):
        load_original(folder)
    with pytest.raises(WeightsError, match="no file"):
        load_original(folder, weights=folder / "other.pt")


def test_a_pickle_with_code_is_refused(folder):
    torch.save({"weights": _Harmful()}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_original(folder)


class _Harmful:
    def __reduce__(self):
        return print, ("code from a weights file",)
