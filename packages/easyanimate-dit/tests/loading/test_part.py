"""Parts of a checkpoint: configurations that are completed, files that replace tensors, encoders that do not load."""

import json

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from easyanimate_core import WeightsError
from easyanimate_dit.loading.component import replace_weights
from easyanimate_dit.loading.encoder import load_encoder
from easyanimate_dit.loading.part import (
    PIXART_SCHEDULER,
    T5,
    ImageProcessorPart,
    PartSettings,
    SchedulerPart,
    TokenizerPart,
    complete_pixart_config,
)
from easyanimate_dit.testing import edit_weights
from safetensors.torch import save_file
from transformers import CLIPImageProcessorPil, T5Config, T5EncoderModel

SETTINGS = PartSettings(torch.float32)


def test_a_pixart_configuration_is_the_release_s_with_what_the_file_says():
    release = {"in_channels": 4, "enable_uvit": True, "motion_module_type": "Vanilla"}
    written = {"_class_name": "Transformer2DModel", "in_channels": 12, "motion_module_type": None, "other": 1}
    expected = {"in_channels": 12, "enable_uvit": True, "motion_module_type": "Vanilla"}
    assert complete_pixart_config(written, "Transformer3DModel", release) == expected


class TestScheduler:
    """The settings of all samplers."""

    def load(self, folder):
        return SchedulerPart(PIXART_SCHEDULER).load(folder, SETTINGS).config

    def test_without_a_folder_they_are_those_of_training(self, tmp_path):
        config = self.load(tmp_path / "scheduler")
        assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.0001, 0.02, "linear")
        assert (config.steps_offset, config.prediction_type) == (1, "epsilon")

    def test_those_of_another_class_describe_the_image_model(self, tmp_path):
        EulerDiscreteScheduler(beta_end=0.5, prediction_type="sample").save_pretrained(tmp_path)
        assert (self.load(tmp_path).beta_end, self.load(tmp_path).prediction_type) == (0.02, "epsilon")

    def test_those_of_its_class_count(self, tmp_path):
        DDIMScheduler(beta_end=0.5).save_pretrained(tmp_path)
        assert self.load(tmp_path).beta_end == 0.5

    def test_a_release_without_any_needs_the_folder(self, tmp_path):
        assert SchedulerPart().component is not None
        assert SchedulerPart(PIXART_SCHEDULER).component is None
        DDIMScheduler(beta_end=0.5).save_pretrained(tmp_path)
        assert SchedulerPart().load(tmp_path, SETTINGS).config.beta_end == 0.5


class TestReplacedWeights:
    """A file that holds all or some tensors of a model."""

    @pytest.fixture
    def model(self):
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)).to(torch.bfloat16)

    @pytest.mark.parametrize("name", ["mine.safetensors", "mine.pt"])
    def test_tensors_are_replaced_in_the_model_s_dtype(self, model, tmp_path, name):
        before = model[1].weight.clone()
        tensors = {"0.bias": torch.full((3,), 7.0)}
        (save_file if name.endswith("safetensors") else torch.save)(tensors, tmp_path / name)
        replace_weights(model, tmp_path / name)
        assert model[0].bias.tolist() == [7.0] * 3
        assert model[0].bias.dtype == torch.bfloat16
        assert torch.equal(model[1].weight, before)

    @pytest.mark.parametrize(
        ("tensors", "words"),
        [
            ({"other": torch.zeros(3)}, "shares no tensor"),
            ({"0.bias": torch.zeros(3), "other": torch.zeros(3)}, r"1 unexpected:\s+other"),
            ({"0.bias": torch.zeros(4)}, r"of another shape:\s+0\.bias: \(4,\) in the file, \(3,\) in the model"),
        ],
    )
    def test_what_does_not_fit_is_an_error_that_changes_nothing(self, model, tmp_path, tensors, words):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        save_file(tensors, tmp_path / "mine.safetensors")
        with pytest.raises(WeightsError, match=words):
            replace_weights(model, tmp_path / "mine.safetensors")
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


class TestEncoder:
    """A text encoder that does not fit its configuration."""

    @pytest.fixture
    def folder(self, tmp_path):
        sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "num_layers": 1, "vocab_size": 8}
        T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu")).save_pretrained(tmp_path)
        return tmp_path

    def test_every_tensor_of_another_shape_is_named(self, folder):
        def change(weights):
            for name in weights:
                if name.endswith("wo.weight") or name == "encoder.final_layer_norm.weight":
                    weights[name] = torch.zeros(3)

        edit_weights(folder, change)
        with pytest.raises(WeightsError, match=r"2 of another shape:(?s:.*)wo\.weight: \(3,\)(?s:.*)final_layer_norm"):
            T5.load(folder, SETTINGS)

    def test_a_damaged_configuration(self, folder):
        (folder / "config.json").write_text("{")
        with pytest.raises(WeightsError, match=r"no JSON that can be read: .*config\.json"):
            T5.load(folder, SETTINGS)

    def test_no_weights(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(WeightsError, match=r"weights are missing(?s:.*)config\.json(?s:.*)\.safetensors"):
            T5.load(folder, SETTINGS)

    @pytest.mark.parametrize(
        "change",
        [
            {"num_layers": 100_000},
            {"d_ff": 10_000_000_000},
            {"vocab_size": -1},
            {"num_heads": "two"},
            {"quantization_config": {"quant_method": "bitsandbytes"}},
            {"auto_map": {"AutoModel": "evil.Model"}},
            {"_attn_implementation": "evil/kernel"},
            {"model_type": "llama"},
        ],
        ids=str,
    )
    def test_a_configuration_that_is_not_of_these_weights(self, folder, change):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(WeightsError) as error:
            T5.load(folder, SETTINGS)
        assert str(folder) in str(error.value)
        assert len(str(error.value)) < 2000

    def test_whole_numbers_are_no_weights(self, folder):
        def change(weights):
            for name in weights:
                weights[name] = weights[name].to(torch.int8)

        edit_weights(folder, change)
        with pytest.raises(WeightsError):
            T5.load(folder, SETTINGS)

    def test_it_does_not_learn(self, folder):
        model = load_encoder(T5EncoderModel, folder, dtype=torch.float16)
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert model.dtype == torch.float16


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*tokenizer_config\.json"):
        TokenizerPart("transformers:T5Tokenizer").load(tmp_path / "tokenizer", SETTINGS)


def test_a_tokenizer_without_a_vocabulary_is_named(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with pytest.raises(WeightsError, match=r"(?s)tokenizer.*vocabulary"):
        TokenizerPart("transformers:BertTokenizer").load(tmp_path, SETTINGS)


class TestImageProcessor:
    """In a folder of its own, or in that of the image encoder."""

    def write(self, folder, edge):
        CLIPImageProcessorPil(size={"shortest_edge": edge}).save_pretrained(folder)

    def load(self, folder):
        return ImageProcessorPart().load(folder / "image_processor", SETTINGS).size["shortest_edge"]

    def test_in_that_of_the_encoder(self, tmp_path):
        self.write(tmp_path / "image_encoder", 28)
        assert self.load(tmp_path) == 28

    def test_its_own_comes_first(self, tmp_path):
        self.write(tmp_path / "image_encoder", 28)
        self.write(tmp_path / "image_processor", 56)
        assert self.load(tmp_path) == 56

    def test_none(self, tmp_path):
        (tmp_path / "image_encoder").mkdir()
        (tmp_path / "image_encoder" / "config.json").write_text(json.dumps({}))
        with pytest.raises(WeightsError, match=r"no file .*preprocessor_config\.json"):
            self.load(tmp_path)

    @pytest.mark.parametrize("size", [{"shortest_edge": 10**9}, -1, {"height": "x"}])
    def test_sizes_have_bounds(self, tmp_path, size):
        self.write(tmp_path / "image_encoder", 28)
        path = tmp_path / "image_encoder" / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"size": size}))
        with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
            self.load(tmp_path)
