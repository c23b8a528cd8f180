"""LoRA on the transformers of V1 to V3, which share a class, and on T5: names, merging, adapters, files of others."""

import json
import logging
from pathlib import Path

import pytest
import torch
from easyanimate_core import LoraFile
from easyanimate_core.errors import WeightsError
from easyanimate_dit import HunyuanTransformer3DModel, Transformer3DModel
from easyanimate_dit.lora import target
from easyanimate_dit.lora.apply import attach_lora, merge_lora, merge_option, read_loras
from easyanimate_dit.lora.convert import convert_tensors
from easyanimate_dit.lora.file import name_original, parse_lora
from easyanimate_dit.lora.target import list_targets
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, T5Config, T5EncoderModel

NAMES = Path(__file__).parents[1] / "golden" / "v3_lora_names.json"
pytestmark = pytest.mark.usefixtures("no_grad")


KEYS = ("v1", "v2", "v3")


@pytest.fixture
def build(pixart_configs):
    """Function from a key to its transformer."""
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2, "caption_channels": 24}

    def make(key="v3", **changes):
        torch.manual_seed(0)
        return Transformer3DModel(**(sizes | {"cross_attention_dim": 32} | pixart_configs[key] | changes)).eval()

    return make


def build_t5():
    torch.manual_seed(0)
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 48, "num_heads": 3, "vocab_size": 32}
    return T5EncoderModel(T5Config(num_layers=2, feed_forward_proj="gated-gelu", **sizes)).eval()


def make_lora(component, model, *, rank=3, alpha=2.0, keep=lambda _path: True):
    """The tensors of a LoRA on every module, or on those that `keep` names."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for path, module in list_targets(model).items():
        if keep(path):
            name, (out, inner) = name_original(component, path), module.weight.shape[:2]
            tensors[f"{name}.lora_down.weight"] = torch.randn(rank, inner, generator=generator) / 5
            tensors[f"{name}.lora_up.weight"] = torch.randn(out, rank, generator=generator) / 5
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def predict(transformer):
    generator = torch.Generator().manual_seed(2)
    return transformer(
        torch.randn(1, 4, 4, 8, 8, generator=generator),
        torch.tensor([500.0]),
        torch.randn(1, 5, 24, generator=generator),
        torch.ones(1, 5),
        inpaint_latents=torch.randn(1, 8, 4, 8, 8, generator=generator) if transformer.has_clip else None,
        clip_encoder_hidden_states=torch.randn(1, 768, generator=generator) if transformer.has_clip else None,
        clip_attention_mask=torch.ones(1, 8) if transformer.has_clip else None,
    ).sample


def test_names_are_those_of_the_original(build):
    names = {name_original("transformer", path) for path in list_targets(build(in_channels=4))}
    names |= {name_original("text_encoder", path) for path in list_targets(build_t5())}
    assert names == set(json.loads(NAMES.read_text()))


@pytest.mark.parametrize("key", KEYS)
def test_every_layer_is_merged_by_the_originals_rule(build, key):
    transformer = build(key)
    tensors = make_lora("transformer", transformer)
    before = {path: module.weight.clone() for path, module in list_targets(transformer).items()}
    rest = {name: value.clone() for name, value in transformer.state_dict().items()}
    assert merge_lora(parse_lora(tensors, source="x"), "transformer", transformer, weight=0.6) == len(before)
    for path, weight in before.items():
        name = name_original("transformer", path)
        delta = tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
        now = transformer.get_submodule(path).weight
        torch.testing.assert_close(now, weight + 0.6 * 2.0 / 3 * delta, atol=1e-6, rtol=0)
        del rest[f"{path}.weight"]
    assert all(torch.equal(transformer.state_dict()[name], value) for name, value in rest.items())


@pytest.mark.parametrize("key", KEYS)
def test_an_adapter_predicts_what_merged_weights_predict(build, key):
    # The motion modules have a `proj_out`, too, which the file does not name.
    merged, attached = build(key), build(key)
    for transformer in (merged, attached):
        torch.nn.init.normal_(transformer.proj_out.weight, generator=torch.Generator().manual_seed(3))
    tensors = make_lora("transformer", merged, keep=lambda path: "attn_temporal" not in path)
    lora = parse_lora(tensors, source="x")
    plain = predict(merged)
    merge_lora(lora, "transformer", merged, weight=0.6)
    assert attach_lora(lora, "transformer", attached, weight=0.6) == len(lora.layers["transformer"])
    assert not [name for name, _ in attached.named_parameters() if "lora_" in name and "attn_temporal" in name]
    torch.testing.assert_close(predict(attached), predict(merged), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(predict(merged), plain, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_files_are_merged_one_after_the_other_and_reported(build, tmp_path, caplog, dtype):
    components = {"transformer": build().to(dtype), "text_encoder": build_t5()}
    before = components["transformer"].proj_out.weight.clone()
    tensors = make_lora("transformer", build()) | make_lora("text_encoder", build_t5())
    save_file(tensors, tmp_path / "both.safetensors")
    save_file({key: value for key, value in tensors.items() if "proj_out." in key}, tmp_path / "one.safetensors")
    loras = (LoraFile(tmp_path / "both.safetensors", 0.5), LoraFile(tmp_path / "one.safetensors"))
    with caplog.at_level(logging.INFO, "easyanimate"):
        for option, lora in zip(loras, read_loras(loras), strict=True):
            merge_option(option, lora, components)
    num = len(list_targets(components["transformer"]))
    assert [record.getMessage() for record in caplog.records if record.name == "easyanimate.lora"] == [
        f"LoRA both.safetensors, weight 0.5, matched modules: {num} in the transformer, 14 in the text encoder",
        "LoRA one.safetensors, weight 1, matched modules: 3 in the transformer",
    ]
    name = "lora_unet__proj_out"
    delta = 1.5 * 2.0 / 3 * tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
    now = components["transformer"].proj_out.weight
    assert now.dtype == dtype
    torch.testing.assert_close(
        now.float(), before.float() + delta, atol=1e-5 if dtype == torch.float32 else 0.02, rtol=0
    )


@pytest.mark.parametrize("key", KEYS)
def test_both_formats_merge_to_equal_weights(build, key):
    tensors = make_lora("transformer", build(key)) | make_lora("text_encoder", build_t5())
    merged = []
    for file, metadata in ((tensors, {}), convert_tensors(tensors, {}, source="x")):
        models = {"transformer": build(key), "text_encoder": build_t5()}
        lora = parse_lora(file, metadata, source="x")
        counts = {component: merge_lora(lora, component, model, weight=0.6) for component, model in models.items()}
        assert counts["text_encoder"] == 14
        merged.append({component: model.state_dict() for component, model in models.items()})
    for component, state in merged[0].items():
        assert all(torch.equal(merged[1][component][name], value) for name, value in state.items())


class TestOtherModel:
    """A file of another model is refused with the model that it is for."""

    @pytest.mark.parametrize("file", KEYS)
    @pytest.mark.parametrize("key", KEYS)
    def test_every_mix_is_an_error_that_changes_nothing(self, build, file, key):
        lora = parse_lora(make_lora("transformer", build(file)), source="x.safetensors")
        transformer = build(key)
        if file == key:
            assert merge_lora(lora, "transformer", transformer) == len(lora.layers["transformer"])
            return
        before = {name: value.clone() for name, value in transformer.state_dict().items()}
        with pytest.raises(
            WeightsError, match=rf"x.safetensors: its transformer is that of {file}\n(?s:.*)--model {file},"
        ):
            merge_lora(lora, "transformer", transformer)
        assert all(torch.equal(transformer.state_dict()[name], value) for name, value in before.items())

    def test_another_class_of_transformer(self, build):
        v4 = HunyuanTransformer3DModel(num_attention_heads=2, attention_head_dim=4, hidden_size=8, num_layers=2)
        bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        own = parse_lora(make_lora("transformer", v4) | make_lora("text_encoder", bert), source="x")
        older = parse_lora(make_lora("transformer", build()) | make_lora("text_encoder", build_t5()), source="x")
        for component, model in (("transformer", build()), ("text_encoder", build_t5())):
            with pytest.raises(WeightsError, match=rf"its {component} is that of v4\n(?s:.*)--model v4,"):
                merge_lora(own, component, model)
        for component, model, key in (("transformer", v4, "v3"), ("text_encoder", bert, "v1 or v2 or v3")):
            with pytest.raises(WeightsError, match=rf"its {component} is that of {key}\n(?s:.*)--model {key},"):
                merge_lora(older, component, model)

    def test_a_part_that_fits_is_taken(self, build):
        attention = make_lora("transformer", build("v2"), keep=lambda path: path.endswith("attn1.to_q"))
        lora = parse_lora(attention, source="x")
        assert merge_lora(lora, "transformer", build("v3")) == 2

    def test_without_installed_models_the_layers_are_named(self, build, monkeypatch):
        monkeypatch.setattr(target, "_list_all_patterns", dict)
        lora = parse_lora(make_lora("transformer", build("v3")), source="x.safetensors")
        with pytest.raises(WeightsError, match=r"LoRA layers have no counterpart in the model(?s:.*)clip_projection"):
            merge_lora(lora, "transformer", build("v2"))
        assert merge_lora(lora, "transformer", build("v3")) == len(lora.layers["transformer"])
