"""LoRA files change exactly what the original changes, and a file that does not fit is an error."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.lora.apply import attach_lora, merge_lora
from easyanimate_dit.lora.convert import convert_lora
from easyanimate_dit.lora.file import PEFT_METADATA, name_original, name_peft, parse_lora, read_lora, save_lora
from easyanimate_dit.lora.pipeline import EasyAnimateLoraMixin
from easyanimate_dit.lora.target import list_targets
from peft import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

GOLDEN = Path(__file__).parents[1] / "golden"
pytestmark = pytest.mark.usefixtures("no_grad")


class MergeCase:
    """The golden LoRA merge: two components with weights, the LoRA file, and what changed."""

    def __init__(self) -> None:
        with safe_open(GOLDEN / "lora_merge.safetensors", "pt") as file:
            self.metadata = file.metadata()
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.lora_tensors = self.take("inputs/lora/")
        self.lora = parse_lora(self.lora_tensors, source="golden")
        self.multiplier = json.loads(self.metadata["call"])["multiplier"]
        config = json.loads(self.metadata["config"])
        self.transformer = HunyuanTransformer3DModel.from_config(config["transformer"]).eval()
        self.transformer.load_state_dict(self.take("weights/transformer/"))
        self.text_encoder = BertModel(BertConfig(**config["text_encoder"])).eval()
        self.text_encoder.load_state_dict(self.take("weights/text_encoder/"), strict=False)
        self.inputs = self.take("inputs/")
        for key in self.lora_tensors:
            del self.inputs[f"lora/{key}"]
        self.inputs["image_rotary_emb"] = (
            self.inputs.pop("image_rotary_emb_cos"),
            self.inputs.pop("image_rotary_emb_sin"),
        )

    def take(self, prefix: str) -> dict:
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def predict(self) -> torch.Tensor:
        return self.transformer(**self.inputs).sample


@pytest.fixture
def case():
    return MergeCase()


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("component", ["transformer", "text_encoder"])
def test_merge_changes_what_the_original_changes(case, component):
    model = getattr(case, component)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    changed = case.take(f"outputs/merged/{component}/")
    assert merge_lora(case.lora, component, model, weight=case.multiplier) == len(changed)
    for key, value in model.state_dict().items():
        assert_close(value, changed.get(key, before[key]))


def test_merged_transformer_predicts_what_the_original_predicts(case):
    assert_close(case.predict(), case.tensors["outputs/sample_before_merge"])
    merge_lora(case.lora, "transformer", case.transformer, weight=case.multiplier)
    assert_close(case.predict(), case.tensors["outputs/sample_after_merge"])
    merge_lora(case.lora, "transformer", case.transformer, weight=-case.multiplier)
    assert_close(case.predict(), case.tensors["outputs/sample_before_merge"])


def test_attached_adapter_predicts_the_same_and_can_be_switched(case):
    count = attach_lora(case.lora, "transformer", case.transformer, adapter_name="style", weight=case.multiplier)
    assert count == len(case.take("outputs/merged/transformer/"))
    assert_close(case.predict(), case.tensors["outputs/sample_after_merge"])
    case.transformer.disable_adapters()
    assert_close(case.predict(), case.tensors["outputs/sample_before_merge"])
    case.transformer.enable_adapters()
    case.transformer.set_adapters("style", case.multiplier)
    assert_close(case.predict(), case.tensors["outputs/sample_after_merge"])


def test_adapter_saved_in_pefts_format_is_read_back(case, tmp_path):
    attach_lora(case.lora, "transformer", case.transformer)
    case.transformer.save_lora_adapter(tmp_path)
    again = read_lora(tmp_path)
    fresh = MergeCase()
    assert merge_lora(again, "transformer", fresh.transformer, weight=case.multiplier) == 79
    assert_close(fresh.predict(), case.tensors["outputs/sample_after_merge"])


def test_layers_of_different_rank_and_alpha_are_attached_exactly(case):
    tensors = dict(case.lora_tensors)
    name = "lora_unet__blocks_3_attn1_to_q"
    tensors[f"{name}.lora_down.weight"] = torch.randn(2, 8)
    tensors[f"{name}.lora_up.weight"] = torch.randn(8, 2)
    tensors[f"{name}.alpha"] = torch.tensor(3.0)
    lora = parse_lora(tensors, source="mixed")
    attach_lora(lora, "transformer", case.transformer)
    attached = case.predict()
    fresh = MergeCase()
    merge_lora(lora, "transformer", fresh.transformer)
    torch.testing.assert_close(attached, fresh.predict(), atol=1e-4, rtol=1e-4)


def test_text_encoder_takes_an_adapter(case):
    ids = torch.arange(6)[None]
    attach_lora(case.lora, "text_encoder", case.text_encoder, weight=case.multiplier)
    attached = case.text_encoder(ids).last_hidden_state
    fresh = MergeCase()
    merge_lora(case.lora, "text_encoder", fresh.text_encoder, weight=case.multiplier)
    assert_close(attached, fresh.text_encoder(ids).last_hidden_state)


@pytest.fixture
def dora(case):
    """The golden LoRA with magnitudes, as peft names it."""
    tensors, config = {}, {}
    for component, layers in case.lora.layers.items():
        targets = {path.replace(".", "_"): path for path in list_targets(getattr(case, component))}
        for name, layer in layers.items():
            magnitude = torch.rand(len(layer.up), generator=torch.Generator().manual_seed(len(tensors)))
            is_convolution = layer.up.ndim > 2
            shaped = magnitude.view(1, -1, 1, 1) if is_convolution else magnitude
            tensors |= name_peft(f"{component}.{targets[name]}", replace(layer, magnitude=shaped))
            config[f"{component}.lora_alpha"] = layer.alpha
    return parse_lora(tensors, {PEFT_METADATA: json.dumps(config)}, source="dora")


@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_dora_merged_is_what_peft_computes(case, dora, weight):
    ids, fresh = torch.arange(6)[None], MergeCase()
    for component in ("transformer", "text_encoder"):
        count = merge_lora(dora, component, getattr(case, component), weight=weight)
        assert count == attach_lora(dora, component, getattr(fresh, component), weight=weight)
    for path, layer in dora.layers["transformer"].items():
        module = fresh.transformer.get_submodule(path)
        assert torch.equal(module.lora_magnitude_vector["default"].weight.flatten(), layer.magnitude.flatten())
    assert_close(case.text_encoder(ids).last_hidden_state, fresh.text_encoder(ids).last_hidden_state)
    torch.testing.assert_close(case.predict(), fresh.predict(), atol=1e-5, rtol=1e-5)


def test_the_rows_of_a_weight_merged_with_dora_have_its_magnitudes(case):
    down, up, magnitude = torch.randn(2, 8), torch.randn(8, 2), torch.rand(8)
    tensors = dict(zip(("proj_out.lora_A.weight", "proj_out.lora_B.weight"), (down, up), strict=True))
    changed = case.transformer.proj_out.weight + up @ down
    lora = parse_lora(tensors | {"proj_out.lora_magnitude_vector": magnitude}, source="x")
    merge_lora(lora, "transformer", case.transformer)
    assert_close(case.transformer.proj_out.weight.norm(dim=1), magnitude)
    assert_close(case.transformer.proj_out.weight, changed / changed.norm(dim=1)[:, None] * magnitude[:, None])


def test_dora_has_no_place_in_the_originals_format_and_must_be_whole(dora, tmp_path):
    with pytest.raises(WeightsError, match="cannot hold DoRA"):
        save_lora(tmp_path / "x.safetensors", dora.layers, "original")
    save_lora(tmp_path / "x.safetensors", dora.layers, "peft")
    with pytest.raises(WeightsError, match="cannot hold DoRA"):
        convert_lora(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    tensors = load_file(tmp_path / "x.safetensors")
    del tensors["transformer.proj_out.lora_magnitude_vector"]
    with pytest.raises(WeightsError, match="for some layers only"):
        parse_lora(tensors, source="x")


def test_missing_alpha_means_factor_one(case):
    tensors = {key: value for key, value in case.lora_tensors.items() if not key.endswith(".alpha")}
    merge_lora(parse_lora(tensors, source="no alpha"), "transformer", case.transformer)
    down, up = (case.lora_tensors[f"lora_unet__proj_out.lora_{part}.weight"] for part in ("down", "up"))
    expected = case.tensors["weights/transformer/proj_out.weight"] + up @ down
    assert_close(case.transformer.proj_out.weight, expected)


def test_names_are_those_of_the_official_files():
    expected = set(json.loads((GOLDEN / "v4_lora_names.json").read_text()))
    config = json.loads((GOLDEN / "v4_transformer_inp.json").read_text())["config"]
    with torch.device("meta"):
        transformer = HunyuanTransformer3DModel.from_config(config)
        text_encoder = BertModel(BertConfig(hidden_size=64, num_hidden_layers=24, num_attention_heads=2))
    names = {name_original("transformer", path) for path in list_targets(transformer)}
    names |= {name_original("text_encoder", path) for path in list_targets(text_encoder)}
    assert names == expected


def test_a_file_of_another_model_names_it(case):
    lora = parse_lora(
        {
            "lora_unet__transformer_blocks_0_attn1_to_q.lora_down.weight": torch.zeros(4, 8),
            "lora_unet__transformer_blocks_0_attn1_to_q.lora_up.weight": torch.zeros(8, 4),
        },
        source="old.safetensors",
    )
    with pytest.raises(
        WeightsError, match=r"of another model(?s:.*)that of v1 or v2 or v3(?s:.*)--model v1 or v2 or v3"
    ):
        merge_lora(lora, "transformer", case.transformer)


def test_an_unknown_name_gets_near_misses(case):
    tensors = {key.replace("proj_out", "proj_outt"): value for key, value in case.lora_tensors.items()}
    with pytest.raises(WeightsError, match=r"did you mean proj_out"):
        attach_lora(parse_lora(tensors, source="odd"), "transformer", case.transformer)


def test_another_shape_is_an_error_and_changes_nothing(case):
    before = case.transformer.blocks[0].attn1.to_q.weight.clone()
    tensors = case.lora_tensors | {"lora_unet__proj_out.lora_down.weight": torch.zeros(4, 9)}
    with pytest.raises(WeightsError, match="another shape"):
        merge_lora(parse_lora(tensors, source="wide"), "transformer", case.transformer)
    assert torch.equal(before, case.transformer.blocks[0].attn1.to_q.weight)


def test_a_file_without_the_component_is_an_error(case):
    tensors = {key: value for key, value in case.lora_tensors.items() if key.startswith("lora_te")}
    with pytest.raises(WeightsError, match="no layer for the transformer"):
        merge_lora(parse_lora(tensors, source="text only"), "transformer", case.transformer)


def test_files_that_are_no_lora_are_errors(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="no such LoRA file"):
        read_lora(path)
    save_file({"blocks.0.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="not a LoRA file"):
        read_lora(path)
    save_file({"lora_unet__proj_out.lora_up.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="incomplete"):
        read_lora(path)


DOWN, UP = "lora_unet__proj_out.lora_down.weight", "lora_unet__proj_out.lora_up.weight"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({DOWN: torch.zeros(2, 8), UP: torch.zeros(8, 3)}, "do not fit one another"),
        ({DOWN: torch.zeros(0, 8), UP: torch.zeros(8, 0)}, "do not fit one another"),
        ({DOWN: torch.zeros(2, 8, 3, 3), UP: torch.zeros(8, 2, 1, 1)}, "do not fit one another"),
        ({DOWN: torch.zeros(8), UP: torch.zeros(8)}, "do not fit one another"),
        (
            {DOWN: torch.zeros(2, 8), UP: torch.zeros(8, 2), "lora_unet__proj_out.alpha": torch.ones(2)},
            "do not fit one",
        ),
        (
            {DOWN: torch.zeros(2, 8), UP: torch.zeros(8, 2), "proj_out.lora_magnitude_vector": torch.ones(3)},
            "do not fit one",
        ),
        ({DOWN: torch.zeros(2, 8), DOWN.replace("__", "_"): torch.zeros(2, 8)}, "two tensors for one place"),
        ({"transformer.a.b.lora_A.weight": torch.zeros(2, 8), "a_b.lora_A.weight": torch.zeros(2, 8)}, "two tensors"),
        ({"lora_te2_encoder_block_0.lora_up.weight": torch.zeros(2, 8)}, "text encoder that takes no LoRA"),
        ({"text_encoder_2.encoder.block.0.lora_A.weight": torch.zeros(2, 8)}, "text encoder that takes no LoRA"),
        ({}, "empty"),
    ],
)
def test_files_that_hold_nonsense_are_errors(tensors, words):
    with pytest.raises(WeightsError, match=words):
        parse_lora(tensors, source="x")


@pytest.mark.parametrize("text", ["{", "3"])
def test_a_damaged_configuration_is_an_error(text):
    tensors = {"proj_out.lora_A.weight": torch.zeros(2, 8), "proj_out.lora_B.weight": torch.zeros(8, 2)}
    with pytest.raises(WeightsError, match="configuration is damaged"):
        parse_lora(tensors, {"lora_adapter_metadata": text}, source="x")


def test_a_folder_without_a_lora_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"no LoRA file in the folder"):
        read_lora(tmp_path)


@pytest.mark.parametrize("name", ["lora_unet_proj_out", "lora_unet__proj_out", "transformer.proj_out", "proj_out"])
@pytest.mark.parametrize("wrapper", ["", "base_model.model."])
def test_every_way_of_writing_a_name_is_read(case, name, wrapper):
    parts = ("down", "up") if name.startswith("lora") else ("A", "B")
    down, up = torch.randn(2, 8), torch.randn(8, 2)
    tensors = {f"{wrapper}{name}.lora_{part}.weight": tensor for part, tensor in zip(parts, (down, up), strict=True)}
    before = case.transformer.proj_out.weight.clone()
    assert merge_lora(parse_lora(tensors, source="x"), "transformer", case.transformer) == 1
    assert_close(case.transformer.proj_out.weight, before + up @ down)


def test_pefts_own_folder_is_read_with_its_alpha(case, tmp_path):
    down, up = torch.randn(2, 8), torch.randn(8, 2)
    key = "base_model.model.blocks.0.attn1.to_q"
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 6}')
    before = case.transformer.blocks[0].attn1.to_q.weight.clone()
    assert merge_lora(read_lora(tmp_path), "transformer", case.transformer) == 1
    assert_close(case.transformer.blocks[0].attn1.to_q.weight, before + 3 * up @ down)


class Pipeline(EasyAnimateLoraMixin):
    """The smallest pipeline: its components."""

    def __init__(self, case):
        self.transformer, self.text_encoder = case.transformer, case.text_encoder
        self.components = {"transformer": self.transformer, "text_encoder": self.text_encoder}


def test_a_pipeline_loads_weights_switches_and_saves(case, tmp_path):
    pipeline = Pipeline(case)
    layers = len(case.lora.layers["transformer"]), len(case.lora.layers["text_encoder"])
    counts = pipeline.load_lora_weights(case.lora_tensors, adapter_name="style")
    assert (counts["transformer"], counts["text_encoder"]) == layers
    pipeline.set_adapters("style", case.multiplier)
    assert_close(case.predict(), case.tensors["outputs/sample_after_merge"])
    pipeline.disable_lora()
    assert_close(case.predict(), case.tensors["outputs/sample_before_merge"])

    pipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=get_peft_model_state_dict(case.transformer, adapter_name="style"),
        text_encoder_lora_layers=get_peft_model_state_dict(case.text_encoder, adapter_name="style"),
        transformer_lora_adapter_metadata=case.transformer.peft_config["style"].to_dict(),
        text_encoder_lora_adapter_metadata=case.text_encoder.peft_config["style"].to_dict(),
    )
    fresh = MergeCase()
    again = Pipeline(fresh)
    again.load_lora_weights(tmp_path, weight=case.multiplier)
    assert_close(fresh.predict(), case.tensors["outputs/sample_after_merge"])
    again.unload_lora_weights()
    assert_close(fresh.predict(), case.tensors["outputs/sample_before_merge"])


def test_saving_nothing_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no LoRA to save"):
        EasyAnimateLoraMixin.save_lora_weights(tmp_path)
