"""LoRA files of other tools: their names and kinds of changes give what the tools themselves compute."""

import json

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_core.part_files import check_lora_files, find_lora
from easyanimate_core.part_files import parse_lora as parse_option
from easyanimate_core.spec import LoraFile
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.lora.apply import attach_lora, merge_lora, read_loras
from easyanimate_dit.lora.convert import convert_lora
from easyanimate_dit.lora.file import PEFT_METADATA, parse_lora, read_lora
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

PATH = "blocks.0.attn1.to_q"
FLAT = PATH.replace(".", "_")
SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "hidden_size": 16,
    "num_layers": 2,
    "cross_attention_dim": 8,
    "cross_attention_dim_t5": 8,
    "pooled_projection_dim": 8,
    "projection_dim": 8,
    "n_query": 4,
    "text_len": 4,
    "text_len_t5": 4,
}
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return HunyuanTransformer3DModel.from_config(SIZES).eval()


def change(model, tensors, metadata=None, weight=1.0):
    """What merging tensors adds to the module PATH: of its weight, and of its bias."""
    module = model.get_submodule(PATH)
    before, bias = module.weight.clone(), module.bias.clone()
    assert merge_lora(parse_lora(tensors, metadata, source="x"), "transformer", model, weight=weight) == 1
    return module.weight - before, module.bias - bias


def matrices(names=("lora_A", "lora_B"), rank=2):
    return dict(zip(names, (torch.randn(rank, 16), torch.randn(16, rank)), strict=True))


@pytest.mark.parametrize(
    "prefix",
    [
        "transformer.",
        "diffusion_model.",
        "model.diffusion_model.",
        "base_model.model.",
        "base_model.model._orig_mod.",
        "base_model.model.transformer.",
        "_orig_mod.",
        "module.",
        "module._orig_mod.transformer.",
        "transformer._orig_mod.",
        "transformer.module.",
    ],
)
@pytest.mark.parametrize("adapter", ["", ".default", ".my-style_2"])
def test_prefixes_and_names_of_adapters(model, prefix, adapter):
    tensors = {f"{prefix}{PATH}.{name}{adapter}.weight": value for name, value in matrices().items()}
    down, up = tensors.values()
    torch.testing.assert_close(change(model, tensors)[0], up @ down, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "prefix", ["lora_unet__", "lora_unet_", "lora_transformer_", "lora_unet__orig_mod_", "lora_unet_diffusion_model_"]
)
def test_prefixes_with_underscores(model, prefix):
    tensors = {f"{prefix}{FLAT}.{name}.weight": value for name, value in matrices(("lora_down", "lora_up")).items()}
    down, up = tensors.values()
    torch.testing.assert_close(change(model, tensors)[0], up @ down, atol=1e-5, rtol=0)


def test_a_compiled_block_has_its_word_inside(model):
    path = PATH.replace("blocks.0.", "blocks.0._orig_mod.")
    tensors = {f"transformer.{path}.{name}.weight": value for name, value in matrices().items()}
    down, up = tensors.values()
    torch.testing.assert_close(change(model, tensors)[0], up @ down, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        LoHaConfig(r=3, alpha=6, target_modules=[PATH]),
        LoKrConfig(r=2, alpha=6, target_modules=[PATH]),
        LoKrConfig(r=2, alpha=6, target_modules=[PATH], decompose_both=True),
        LoKrConfig(r=64, alpha=6, target_modules=[PATH]),
        LoraConfig(r=2, lora_alpha=6, target_modules=[PATH], lora_bias=True),
    ],
    ids=["loha", "lokr", "lokr of two products", "lokr of two matrices", "lora with biases"],
)
@pytest.mark.filterwarnings("ignore:Adapter:peft.utils.warning.PeftWarning")  # of its own bias
def test_what_peft_saves_changes_what_peft_changes(model, tmp_path, config):
    wrapped = get_peft_model(HunyuanTransformer3DModel.from_config(SIZES), config)
    for name, parameter in wrapped.named_parameters():
        if any(mark in name for mark in ("lora_", "hada_", "lokr_")):
            parameter.copy_(torch.randn_like(parameter))
    wrapped.save_pretrained(tmp_path)
    layer = wrapped.base_model.model.get_submodule(PATH)
    before, bias = layer.get_base_layer().weight.clone(), layer.get_base_layer().bias.clone()
    layer.merge()
    expected = layer.get_base_layer().weight - before, layer.get_base_layer().bias - bias
    lora = read_lora(tmp_path)
    module = model.get_submodule(PATH)
    own, own_bias = module.weight.clone(), module.bias.clone()
    assert merge_lora(lora, "transformer", model, weight=0.5) == 1
    torch.testing.assert_close(module.weight - own, 0.5 * expected[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(module.bias - own_bias, 0.5 * expected[1], atol=1e-5, rtol=1e-5)
    assert not lora.is_zero()


def test_loha_of_lycoris(model):
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    a1, b1, a2, b2 = (torch.randn(*shape) for shape in ((16, 4), (4, 16), (16, 4), (4, 16)))
    tensors = {f"lora_unet__{FLAT}.{name}": value for name, value in zip(names, (a1, b1, a2, b2), strict=True)}
    tensors[f"lora_unet__{FLAT}.alpha"] = torch.tensor(2.0)
    torch.testing.assert_close(change(model, tensors)[0], 0.5 * (a1 @ b1) * (a2 @ b2), atol=1e-5, rtol=1e-5)


def test_lokr_of_lycoris(model):
    w1, a2, b2 = torch.randn(4, 4), torch.randn(4, 2), torch.randn(2, 4)
    key = f"lora_unet__{FLAT}"
    alpha = {f"{key}.alpha": torch.tensor(4.0)}
    tensors = {f"{key}.lokr_w1": w1, f"{key}.lokr_w2_a": a2, f"{key}.lokr_w2_b": b2} | alpha
    torch.testing.assert_close(change(model, tensors)[0], 2 * torch.kron(w1, a2 @ b2), atol=1e-5, rtol=1e-5)
    # Without a rank alpha does not count.
    whole = {f"{key}.lokr_w1": w1, f"{key}.lokr_w2": a2 @ b2} | alpha
    torch.testing.assert_close(change(model, whole)[0], torch.kron(w1, a2 @ b2), atol=1e-5, rtol=1e-5)


def test_dora_of_kohya_is_that_of_peft(model):
    key, scale = f"lora_unet__{FLAT}", torch.rand(16, 1)
    tensors = {f"{key}.{name}.weight": value for name, value in matrices(("lora_down", "lora_up")).items()}
    change(model, tensors | {f"{key}.dora_scale": scale})
    torch.testing.assert_close(model.get_submodule(PATH).weight.norm(dim=1, keepdim=True), scale)
    with pytest.raises(WeightsError, match="magnitudes for columns"):
        parse_lora(tensors | {f"{key}.dora_scale": scale.T}, source="x")


def test_whole_differences_and_biases(model):
    key, difference, bias = f"diffusion_model.{PATH}", torch.randn(16, 16), torch.randn(16)
    weight, added = change(model, {f"{key}.diff": difference, f"{key}.diff_b": bias}, weight=0.5)
    torch.testing.assert_close(weight, 0.5 * difference, atol=1e-5, rtol=0)
    torch.testing.assert_close(added, 0.5 * bias, atol=1e-5, rtol=0)
    weight, added = change(model, {f"{key}.diff_b": bias})
    assert not weight.any()
    torch.testing.assert_close(added, bias, atol=1e-5, rtol=0)


def test_both_biases_of_a_layer_count(model):
    key, both, whole = f"transformer.{PATH}", torch.randn(16), torch.randn(16)
    tensors = {f"{key}.{name}.weight": value for name, value in matrices().items()}
    tensors |= {f"{key}.alpha": torch.tensor(4.0), f"{key}.lora_B.bias": both, f"{key}.diff_b": whole}
    torch.testing.assert_close(change(model, tensors)[1], 2 * both + whole, atol=1e-5, rtol=0)


def test_an_alpha_of_zero_is_one(model):
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {f"{PATH}.{name}": torch.randn(16, 2) if name.endswith("a") else torch.randn(2, 16) for name in names}
    metadata = {PEFT_METADATA: json.dumps({"peft_type": "LOHA", "alpha": 0, "r": 2})}
    assert not change(model, tensors, metadata)[0].any()


def test_a_pytorch_file_and_a_folder(model, tmp_path):
    tensors = {f"transformer.{PATH}.{name}.weight": value for name, value in matrices().items()}
    folder = tmp_path / "lora"
    folder.mkdir()
    torch.save(tensors, folder / "pytorch_lora_weights.bin")
    (option,) = [parse_option(f"{folder}:0.5")]
    assert option == LoraFile(folder / "pytorch_lora_weights.bin", 0.5)
    check_lora_files([option])
    assert merge_lora(read_lora(folder), "transformer", model) == 1
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 6}))
    (folder / "pytorch_lora_weights.bin").unlink()
    assert find_lora(folder).name == "adapter_model.safetensors"
    (layer,) = read_lora(folder).layers["transformer"].values()
    assert layer.scale == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_told(tmp_path, value):
    tensors = {f"transformer.{PATH}.{name}.weight": matrix for name, matrix in matrices().items()}
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"no numbers(?s:.*)lora_A"):
        read_loras([LoraFile(tmp_path / "a.safetensors")])


def test_a_file_of_zeros_is_told(tmp_path, caplog):
    tensors = {f"transformer.{PATH}.{name}.weight": matrix for name, matrix in matrices().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    read_loras([LoraFile(tmp_path / "a.safetensors")])
    assert not caplog.records
    tensors[f"transformer.{PATH}.lora_B.weight"].zero_()
    save_file(tensors, tmp_path / "a.safetensors")
    read_loras([LoraFile(tmp_path / "a.safetensors")])
    assert "changes nothing" in caplog.text


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({f"{PATH}.oft_blocks": torch.zeros(1)}, "by OFT"),
        ({f"{PATH}.hada_t1": torch.zeros(1)}, "Tucker"),
        ({f"{PATH}.hada_w1_a": torch.zeros(16, 2), f"{PATH}.hada_w1_b": torch.zeros(2, 16)}, "incomplete"),
        ({f"{PATH}.lokr_w1": torch.zeros(4, 4)}, "incomplete"),
        ({f"{PATH}.lokr_w1": torch.zeros(4, 4), f"{PATH}.lora_A.weight": torch.zeros(4, 4)}, "incomplete"),
        ({f"{PATH}.lokr_w1": torch.zeros(4), f"{PATH}.lokr_w2": torch.zeros(4, 4)}, "do not fit one another"),
        (
            {f"{PATH}.{name}.weight": matrix.to(torch.int8) for name, matrix in matrices().items()},
            "whole numbers where fractions belong",
        ),
    ],
)
def test_what_is_not_read_is_named(tensors, words):
    with pytest.raises(WeightsError, match=words):
        parse_lora(tensors, source="x")


@pytest.mark.parametrize(
    "config",
    [
        '{"peft_type": "VERA"}',
        '{"lora_alpha": "six"}',
        '{"lora_alpha": 1, "alpha_pattern": {"(a+)+(b+)+": 2}}',
        '{"lora_alpha": 1, "alpha_pattern": {"(": 2}}',
        '{"lora_alpha": 1, "alpha_pattern": [1]}',
        '{"lora_alpha": 1, "use_rslora": 3}',
        '{"lora_alpha": NaN}',
    ],
)
def test_a_configuration_of_others_is_read_by_type(config):
    tensors = {f"{PATH}.{name}.weight": matrix for name, matrix in matrices().items()}
    with pytest.raises(WeightsError):
        parse_lora(tensors, {PEFT_METADATA: config}, source="x")


def test_other_kinds_are_merged_only(model, tmp_path):
    tensors = {f"{PATH}.lokr_w1": torch.ones(4, 4), f"{PATH}.lokr_w2": torch.ones(4, 4)}
    with pytest.raises(WeightsError, match="LoKr file can be merged, but not attached"):
        attach_lora(parse_lora(tensors, source="x"), "transformer", model)
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="cannot hold LoKr"):
        convert_lora(tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_state_dicts_of_peft_are_read_as_well(model):
    wrapped = get_peft_model(
        HunyuanTransformer3DModel.from_config(SIZES), LoKrConfig(r=2, alpha=6, target_modules=[PATH])
    )
    lora = parse_lora(get_peft_model_state_dict(wrapped), {PEFT_METADATA: '{"r": 2, "alpha": 6}'}, source="x")
    assert merge_lora(lora, "transformer", model) == 1
