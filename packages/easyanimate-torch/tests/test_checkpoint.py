"""Weights are read whole and compared with a model, or an error says what is wrong."""

import json
import shutil
import zipfile

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import check_shapes, load_model, read_weights
from safetensors.torch import load_file, save_file
from torch import nn


class Network(ModelMixin, ConfigMixin):
    """One linear layer, a counter that is saved and a table that is computed."""

    @register_to_config
    def __init__(self, width: int = 2, depth: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("table", torch.arange(width) * scale, persistent=False)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network(width=3, depth=2)


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path)
    return tmp_path


def load(folder, **options):
    return load_model(Network, folder, **{"dtype": torch.float32} | options)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, edit):
    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)


def assert_equal(model, expected):
    assert model.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name


@pytest.mark.parametrize("suffix", ["safetensors", "bin", "pt", "ckpt"])
def test_every_kind_of_file(network, folder, suffix):
    path = folder / "diffusion_pytorch_model.safetensors"
    if suffix != "safetensors":
        weights = load_file(path)
        path.unlink()
        torch.save({"state_dict": weights} if suffix == "ckpt" else weights, path.with_suffix(f".{suffix}"))
    assert_equal(load(folder), network)


@pytest.mark.parametrize("safe", [True, False])
def test_weights_in_parts(network, folder, safe):
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size=40, safe_serialization=safe)
    parts = sorted(folder.glob("*-of-*"))
    assert len(parts) > 1
    assert_equal(load(folder), network)
    parts[0].unlink()
    with pytest.raises(WeightsError, match="Parts of the weights are missing"):
        load(folder)


def test_a_model_is_ready_for_inference(folder):
    model = load(folder, dtype=torch.bfloat16)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.count.dtype == torch.int64
    assert model.table.tolist() == [0, 1, 2]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_is_the_model_of_diffusers(folder):
    model, expected = load(folder), Network.from_pretrained(str(folder))
    assert_equal(model, expected)
    assert dict(model.config) == dict(expected.config)


def test_no_initial_values_are_drawn_and_no_weights_copied(folder, monkeypatch):
    state = torch.get_rng_state()
    load(folder)
    assert torch.equal(torch.get_rng_state(), state)
    weights = read_weights(folder / "diffusion_pytorch_model.safetensors")
    monkeypatch.setattr("easyanimate_torch.checkpoint.read_weights", lambda _: weights)
    model = load(folder)
    assert all(tensor.data_ptr() == weights[name].data_ptr() for name, tensor in model.state_dict().items())


def test_changes_win_over_the_configuration(folder):
    edit_config(folder, scale=3.0)
    assert load(folder, changes={"scale": 4.0}).table[1] == 4.0


def test_what_does_not_fit_is_counted_and_named(folder):
    def spoil(weights):
        weights["more"] = weights.pop("layers.0.bias")
        weights["layers.1.weight"] = torch.zeros(3, 4)
        weights["loss.x"] = torch.zeros(1)

    edit_weights(folder, spoil)
    with pytest.raises(WeightsError) as error:
        load(folder, known_extras=[r"^loss\."])
    text = str(error.value)
    for title, line in (
        ("missing", "layers.0.bias"),
        ("unexpected", "more"),
        ("of another shape", "layers.1.weight: (3, 4) in the file, (3, 3) in the model"),
    ):
        assert f"1 {title}:\n    {line}" in text
    assert str(folder) in text


def test_missing_files(folder):
    weights = folder / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, folder / "one.safetensors")
    weights.rename(folder / "other.safetensors")
    with pytest.raises(WeightsError, match=r"(?s)cannot be told .*one\.safetensors, other\.safetensors"):
        load(folder)
    (folder / "one.safetensors").unlink()
    load(folder)
    (folder / "other.safetensors").unlink()
    with pytest.raises(WeightsError, match="weights are missing"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(folder)
    with pytest.raises(WeightsError, match="There is no weights file"):
        read_weights(weights)


def test_damaged_files(folder, tmp_path):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="incomplete"):
        load(folder)
    (tmp_path / "half.pt").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "half.pt")


class Harmful:
    def __reduce__(self):
        return print, ("code from a weights file",)


@pytest.mark.parametrize("content", [{"weights": Harmful()}, {"epoch": 3, "a": torch.zeros(1)}, [torch.zeros(1)]])
def test_a_file_of_anything_but_tensors_is_refused(tmp_path, content, capsys):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(WeightsError, match="cannot be read") as error:
        read_weights(tmp_path / "a.bin")
    assert "weights_only" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_only_some_differences_are_listed():
    own = {f"layer {number:02}": (2,) for number in range(20)}
    with pytest.raises(WeightsError, match=r"20 missing:(?s:.*)layer 07\n    \.\.\. and 12 more") as error:
        check_shapes(own, {}, source="file", fix="take another file")
    assert "layer 08" not in str(error.value)
    assert "take another file" in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.sft",
        "model.safetensors",
        "vae.pt",
        "diffusion_pytorch_model-00001-of-00001.safetensors",
    ],
)
def test_other_names(network, folder, name):
    weights = folder / "diffusion_pytorch_model.safetensors"
    (folder / f"._{weights.name}").write_bytes(b"of macOS")
    if name.endswith(".pt"):
        torch.save(load_file(weights), folder / name)
        weights.unlink()
    else:
        weights.rename(folder / name)
    assert_equal(load(folder), network)


@pytest.mark.parametrize(
    "claim",
    [{"depth": 100_000}, {"width": 10_000_000_000}, {"width": -1}, {"width": "wide"}, {"width": None}, {"depth": 1e9}],
    ids=str,
)
def test_a_configuration_that_is_no_model_is_refused_before_memory_is_taken(folder, claim):
    edit_config(folder, **claim)
    with pytest.raises(WeightsError, match=r"(?s)configuration.*received|does not fit the model"):
        load(folder)


def test_a_computed_table_has_the_size_of_weights_at_most(folder, monkeypatch):
    monkeypatch.setattr("easyanimate_torch.checkpoint._SPARE_VALUES", -23)
    with pytest.raises(WeightsError, match=r"(?s)larger model than the weights.*3 numbers"):
        load(folder)


@pytest.mark.parametrize("claim", [{"quantization_config": {"load_in_4bit": True}}, {"auto_map": {"A": "b--c.D"}}])
def test_what_a_configuration_asks_for_beside_the_model_is_named(folder, claim):
    edit_config(folder, **claim)
    with pytest.raises(WeightsError, match=next(iter(claim))):
        load(folder)


def test_whole_numbers_are_no_weights(folder):
    def spoil(weights):
        weights["layers.0.bias"] = weights["layers.0.bias"].to(torch.int8)

    edit_weights(folder, spoil)
    with pytest.raises(WeightsError, match=r"layers\.0\.bias: int8 in the file, float32 in the model"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(2)],
        torch.zeros(2),
        {},
        {3: torch.zeros(2)},
        {"a": torch.zeros(1).expand(10**12)},
        {"a": torch.zeros(2, device="meta")},
        {"a": torch.zeros(2).to_sparse()},
    ],
)
def test_a_pytorch_file_holds_plain_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "a.pt")


def test_a_packed_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as plain,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(WeightsError, match="compressed"):
        read_weights(tmp_path / "b.pt")
