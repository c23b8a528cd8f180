import json

import pytest
from easyanimate_core.errors import WeightsError
from easyanimate_core.listing import list_weights


def put(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def listed(folder):
    return [path.name for path in list_weights(folder)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"],
            ["diffusion_pytorch_model.safetensors"],
        ),
        (["model.fp16.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["model.fp16.safetensors", "config.json"], ["model.fp16.safetensors"]),
        (["diffusion_pytorch_model.non_ema.bin"], ["diffusion_pytorch_model.non_ema.bin"]),
        (["model.sft"], ["model.sft"]),
        (["vae.pt", "optimizer.pt", "random_states_0.pth", "._vae.pt", ".vae.pt"], ["vae.pt"]),
        (["vae.pt", "vae.safetensors"], ["vae.safetensors"]),
        (
            ["pytorch_model-00002-of-00002.bin", "pytorch_model-00001-of-00002.bin"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        ),
        (
            ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
            ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
        ),
        (
            ["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"],
            ["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"],
        ),
        (["model-00001-of-00001.safetensors"], ["model-00001-of-00001.safetensors"]),
        (["model.safetensors", "model-00001-of-00002.safetensors"], ["model.safetensors"]),
    ],
)
def test_names_of_diffusers_and_transformers(tmp_path, names, expected):
    put(tmp_path, *names)
    assert listed(tmp_path) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "an empty folder"),
        (["config.json", "._model.safetensors"], "weights are missing"),
        (["a.safetensors", "b.safetensors"], "cannot be told"),
        (["model.fp16.safetensors", "model.bf16.safetensors"], "cannot be told"),
        (["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"], "number 2 in"),
    ],
)
def test_what_is_not_whole_or_not_clear(tmp_path, names, message):
    put(tmp_path, *names)
    with pytest.raises(WeightsError, match=message):
        list_weights(tmp_path)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "model.safetensors.index.fp16.json"])
def test_an_index_names_the_parts(tmp_path, index):
    put(tmp_path, "one.safetensors", "two.safetensors")
    content = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}
    (tmp_path / index).write_text(json.dumps(content))
    assert listed(tmp_path) == ["one.safetensors", "two.safetensors"]
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"two\.safetensors(?s:.*)1 of 2 parts"):
        list_weights(tmp_path)


@pytest.mark.parametrize(
    "weight_map",
    [
        None,
        [],
        {},
        {"a": "../x.safetensors"},
        {"a": "/etc/passwd"},
        {"a": "c:\\x.safetensors"},
        {"a": 3},
        {"a": "x.py"},
    ],
)
def test_an_index_leads_nowhere_else(tmp_path, weight_map):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(WeightsError, match=r"index\.json"):
        list_weights(tmp_path)
