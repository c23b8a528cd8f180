"""LoRA files in the other format and back: the same tensors, names, alphas and metadata, and the same effect."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import typer
from easyanimate_core.errors import EasyAnimateError, WeightsError
from easyanimate_core.registry import load_plugins
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.lora.apply import attach_lora, merge_lora
from easyanimate_dit.lora.command import convert
from easyanimate_dit.lora.convert import convert_lora, convert_tensors, require_path
from easyanimate_dit.lora.file import name_original, read_lora, read_lora_tensors
from easyanimate_dit.lora.target import list_targets
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

GOLDEN = Path(__file__).parents[1] / "golden"
METADATA = {"sshs_model_hash": "ab", "ss_note": "mine"}
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture
def golden():
    """The tensors of the golden LoRA file, and the configuration of its transformer."""
    with safe_open(GOLDEN / "lora_merge.safetensors", "pt") as file:
        prefix = "inputs/lora/"
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        config = json.loads(file.metadata()["config"])["transformer"]
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, config


@pytest.fixture
def write(tmp_path):
    def write(tensors, name="in.safetensors", metadata=None):
        save_file(tensors, tmp_path / name, metadata=metadata)
        return tmp_path / name

    return write


def assert_same_file(first, second):
    (tensors, metadata), (others, other_metadata) = read_lora_tensors(first), read_lora_tensors(second)
    assert tensors.keys() == others.keys()
    assert metadata == other_metadata
    for name, tensor in tensors.items():
        assert tensor.dtype == others[name].dtype, name
        assert torch.equal(tensor, others[name]), name


def rename_layers(tensors):
    """Everything that original files vary in: underscores, alphas, number formats."""
    first, second, third = (f"lora_unet__blocks_{index}_attn1_to_q" for index in range(3))
    changed = {name.replace("lora_unet__", "lora_unet_"): tensor.half() for name, tensor in tensors.items()}
    changed = {name: tensor for name, tensor in changed.items() if first.replace("__", "_") not in name}
    down, up = torch.randn(7, 8), torch.randn(8, 7)
    changed |= {f"{first}.lora_down.weight": down.bfloat16(), f"{first}.lora_up.weight": up}
    changed[f"{second.replace('__', '_')}.alpha"] = torch.tensor([0.1], dtype=torch.bfloat16)
    changed[f"{third.replace('__', '_')}.alpha"] = torch.tensor(3)
    return changed


@pytest.mark.parametrize("vary", [dict, rename_layers])
@pytest.mark.parametrize("metadata", [None, METADATA])
def test_original_to_peft_and_back_is_the_same_file(golden, write, tmp_path, vary, metadata):
    source = write(vary(golden[0]), metadata=metadata)
    assert convert_lora(source, tmp_path / "peft.safetensors") == "peft"
    assert convert_lora(tmp_path / "peft.safetensors", tmp_path / "back.safetensors") == "original"
    assert_same_file(source, tmp_path / "back.safetensors")


@pytest.mark.parametrize("prefix", ["transformer.", "base_model.model.", "base_model.model.transformer.", ""])
@pytest.mark.parametrize("metadata", [None, {"lora_adapter_metadata": '{"transformer.lora_alpha": 6}', "format": "pt"}])
def test_peft_to_original_and_back_is_the_same_file(write, tmp_path, prefix, metadata):
    key = f"{prefix}blocks.0.attn1.to_q"
    tensors = {f"{key}.lora_A.weight": torch.randn(2, 8), f"{key}.lora_B.weight": torch.randn(8, 2).half()}
    source = write(tensors, metadata=metadata)
    assert convert_lora(source, tmp_path / "original.safetensors") == "original"
    converted, _ = read_lora_tensors(tmp_path / "original.safetensors")
    name = "lora_unet__blocks_0_attn1_to_q"
    assert torch.equal(converted[f"{name}.lora_down.weight"], tensors[f"{key}.lora_A.weight"])
    assert converted.keys() - {f"{name}.alpha"} == {f"{name}.lora_down.weight", f"{name}.lora_up.weight"}
    assert (f"{name}.alpha" in converted) == bool(metadata)
    assert convert_lora(tmp_path / "original.safetensors", tmp_path / "back.safetensors", "peft") == "peft"
    assert_same_file(source, tmp_path / "back.safetensors")


@pytest.mark.parametrize("vary", [dict, rename_layers])
def test_both_formats_merge_to_equal_weights(golden, write, tmp_path, vary):
    tensors, config = golden
    files = [write(vary(tensors)), tmp_path / "peft.safetensors", tmp_path / "back.safetensors"]
    for source, target in pairwise(files):
        convert_lora(source, target)
    states = []
    for file in files:
        torch.manual_seed(0)
        transformer = HunyuanTransformer3DModel.from_config(config)
        assert merge_lora(read_lora(file), "transformer", transformer, weight=0.6) == 79
        states.append(transformer.state_dict())
    for state in states[1:]:
        assert all(torch.equal(state[name], value) for name, value in states[0].items())


def test_diffusers_and_peft_read_what_was_converted(golden, write, tmp_path):
    tensors, config = golden
    tensors = rename_layers({name: value for name, value in tensors.items() if name.startswith("lora_unet")})
    lora_file = write({name: value.float() for name, value in tensors.items()})
    convert_lora(lora_file, tmp_path / "peft.safetensors")
    torch.manual_seed(0)
    expected, found = (HunyuanTransformer3DModel.from_config(config) for _ in range(2))
    found.load_state_dict(expected.state_dict())
    attach_lora(read_lora(lora_file), "transformer", expected)
    found.load_lora_adapter(tmp_path, weight_name="peft.safetensors", prefix="transformer", adapter_name="default")
    for (name, module), other in zip(expected.named_modules(), found.modules(), strict=True):
        if "default" in getattr(module, "lora_A", {}):
            assert module.scaling == pytest.approx(other.scaling), name
            for part in ("lora_A", "lora_B"):
                assert torch.equal(getattr(module, part)["default"].weight, getattr(other, part)["default"].weight)


def test_a_folder_of_peft_is_converted_with_its_alpha(golden, tmp_path):
    transformer = HunyuanTransformer3DModel.from_config(golden[1])
    wrapped = get_peft_model(transformer, LoraConfig(r=2, lora_alpha=6, target_modules=["to_q"], use_rslora=True))
    wrapped.save_pretrained(tmp_path / "peft")
    convert_lora(tmp_path / "peft", tmp_path / "original.safetensors")
    tensors, _ = read_lora_tensors(tmp_path / "original.safetensors")
    alphas = [tensor for name, tensor in tensors.items() if name.endswith(".alpha")]
    assert len(alphas) == len(tensors) / 3 > 4
    assert all(float(alpha) == pytest.approx(6 * 2**0.5) for alpha in alphas)


def test_a_file_that_was_changed_after_a_conversion_is_converted_as_it_is(golden, write, tmp_path):
    convert_lora(write(golden[0], metadata=METADATA), tmp_path / "peft.safetensors")
    tensors, metadata = read_lora_tensors(tmp_path / "peft.safetensors")
    part = {name: tensor for name, tensor in tensors.items() if name.startswith("transformer.blocks.0.")}
    converted, kept = convert_tensors(part, metadata, source="x")
    assert {name.split(".")[0] for name in converted} == {
        name.split(".")[0] for name in golden[0] if name.startswith("lora_unet__blocks_0_")
    }
    assert all(torch.equal(tensor, golden[0][name]) for name, tensor in converted.items())
    assert kept.items() >= METADATA.items()


def test_every_name_of_the_official_files_has_its_path():
    config = json.loads((GOLDEN / "v4_transformer_inp.json").read_text())["config"]
    with torch.device("meta"):
        text_encoder = BertModel(BertConfig(hidden_size=64, num_hidden_layers=24, num_attention_heads=2))
        models = {"transformer": HunyuanTransformer3DModel.from_config(config), "text_encoder": text_encoder}
    names = set(json.loads((GOLDEN / "v4_lora_names.json").read_text()))
    for component, model in models.items():
        for path in list_targets(model):
            name = name_original(component, path)
            assert require_path(component, name.removeprefix(name_original(component, "")), "x") == path
            names.remove(name)
    assert not names


class TestRefusals:
    """What cannot be converted is an error, and leaves files as they are."""

    def test_the_format_that_the_file_has(self, golden, write, tmp_path):
        with pytest.raises(WeightsError, match=r"this format already(?s:.*)--to peft"):
            convert_lora(write(golden[0]), tmp_path / "out.safetensors", "original")
        assert not (tmp_path / "out.safetensors").exists()

    def test_an_existing_file(self, golden, write, tmp_path):
        (tmp_path / "out.safetensors").write_bytes(b"mine")
        with pytest.raises(WeightsError, match=r"such a file already(?s:.*)--force"):
            convert_lora(write(golden[0]), tmp_path / "out.safetensors")
        assert (tmp_path / "out.safetensors").read_bytes() == b"mine"
        convert_lora(write(golden[0]), tmp_path / "out.safetensors", overwrite=True)
        assert len(read_lora(tmp_path / "out.safetensors").layers["transformer"]) == 79

    def test_another_ending(self, golden, write, tmp_path):
        with pytest.raises(WeightsError, match=r"out.safetensors"):
            convert_lora(write(golden[0]), tmp_path / "out.bin")

    def test_a_folder_that_cannot_be_written(self, golden, write, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(WeightsError, match="cannot be written"):
            convert_lora(write(golden[0]), tmp_path / "file" / "out.safetensors")

    @pytest.mark.parametrize(
        "name", ["lora_unet_down_blocks_0_attentions_0_proj_in", "transformer.down_blocks.0.proj_in"]
    )
    def test_a_lora_of_another_model(self, write, tmp_path, name):
        ends = (".lora_down", ".lora_up") if name.startswith("lora") else (".lora_A", ".lora_B")
        tensors = {f"{name}{ends[0]}.weight": torch.zeros(2, 8), f"{name}{ends[1]}.weight": torch.zeros(8, 2)}
        with pytest.raises(
            WeightsError, match=r"No installed model has such a layer in its transformer(?s:.*)v1, v2, v3, v4"
        ):
            convert_lora(write(tensors), tmp_path / "out.safetensors")

    def test_a_mixture(self, golden, write, tmp_path):
        key = "transformer.blocks.0.attn1.to_q"
        own = {f"{key}.lora_A.weight": torch.zeros(2, 8), f"{key}.lora_B.weight": torch.zeros(8, 2)}
        kept = {name: value for name, value in golden[0].items() if "blocks_0_attn1_to_q" not in name}
        with pytest.raises(WeightsError, match="mixes two formats"):
            convert_lora(write(kept | own), tmp_path / "out.safetensors")

    def test_a_checkpoint(self, write, tmp_path):
        with pytest.raises(WeightsError, match="not a LoRA file"):
            convert_lora(write({"blocks.0.weight": torch.zeros(1)}), tmp_path / "out.safetensors")

    @pytest.mark.parametrize(
        "damage", ["no json", '{"keys": 3}', '{"keys": {"K": "x"}, "alphas": {"y": ["load", [], 1]}}']
    )
    def test_a_damaged_memory(self, write, tmp_path, damage):
        key = "transformer.blocks.0.attn1.to_q.lora_A.weight"
        tensors = {key: torch.zeros(2, 8), key.replace("_A", "_B"): torch.zeros(8, 2)}
        keys = json.dumps(dict.fromkeys(tensors, "x"))[1:-1]
        source = write(tensors, metadata={"easyanimate_converted_from": damage.replace('"K": "x"', keys)})
        with pytest.raises(WeightsError, match="damaged"):
            convert_lora(source, tmp_path / "out.safetensors")


class TestCommand:
    """`ea weights convert`."""

    def run(self, *words):
        app = typer.Typer()
        app.command()(convert)
        return CliRunner().invoke(app, [str(word) for word in words])

    def test_is_offered_beside_the_commands_of_the_weights(self):
        assert load_plugins().command("weights", "convert").load() is convert

    def test_writes_and_names_the_file(self, golden, write, tmp_path):
        source, target = write(golden[0]), tmp_path / "new" / "peft.safetensors"
        result = self.run(source, target, "--to", "peft")
        assert result.exit_code == 0, result.output
        assert result.stdout.strip() == str(target)
        assert "peft" in result.stderr
        assert [path.name for path in target.parent.iterdir()] == [target.name]
        assert isinstance(self.run(source, target).exception, EasyAnimateError)
        assert self.run(source, target, "--force").exit_code == 0

    def test_replaces_its_own_source(self, golden, write):
        source = write(golden[0])
        kept = shutil.copy(source, source.with_name("kept.safetensors"))
        assert self.run(source, source, "--force").exit_code == 0
        assert self.run(source, source, "--force").exit_code == 0
        assert_same_file(source, kept)
