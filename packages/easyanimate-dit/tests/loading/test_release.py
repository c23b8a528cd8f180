"""A release of small parts, without any plugin: what is checked, told, loaded, and put together."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler
from easyanimate_core import LoadOptions, ShapeRule, WeightsError, WeightsFolder
from easyanimate_core.request import Task
from easyanimate_core.weights import complete_spec
from easyanimate_dit import Transformer3DModel, testing
from easyanimate_dit.loading.part import (
    CLIP,
    PIXART_CLASSES,
    T5,
    VAE_EXTRAS,
    ModelPart,
    SchedulerPart,
    TokenizerPart,
    complete_pixart_config,
)
from easyanimate_dit.loading.release import Release
from easyanimate_dit.lora import target
from easyanimate_dit.pixart.version_parts import make_pixart_parts
from easyanimate_dit.testing import ReleaseContract, edit_config
from tiny_dit import TinyVae
from transformers import (
    BertTokenizer,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "cross_attention_dim": 32,
    "caption_channels": 24,
    "in_channels": 12,
    "enable_uvit": True,
}
VAE = {"latent_channels": 4, "scaling_factor": 0.25}

TINY = Release(
    key="tiny",
    summary="Small parts.",
    parts={
        "transformer": ModelPart(
            target="easyanimate_dit.pixart:Transformer3DModel", config=TRANSFORMER, complete=complete_pixart_config
        ),
        "vae": ModelPart(target="tiny_dit:TinyVae", config=VAE, extras=VAE_EXTRAS, overflows=True),
        "text_encoder": T5,
        "tokenizer": TokenizerPart("transformers:BertTokenizer"),
        "scheduler": SchedulerPart(),
    },
    image_parts=CLIP,
    takes_images=lambda config: config["in_channels"] == 12,
    make_version_parts=lambda components, shapes: make_pixart_parts(components, shapes, smooth=False),
    class_prefixes=PIXART_CLASSES,
    shapes=ShapeRule(max_frames=8),
    signs=((4, lambda folder: folder.config("transformer").get("enable_uvit")), (2, lambda _: True)),
    sure=1,
)


class Installed:
    """Stands for what `load_plugins` gives."""

    def models(self):
        return {"tiny": TINY.spec()}


@pytest.fixture(scope="module", autouse=True)
def installed():
    """No plugin but this one."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (target, testing):
            patch.setattr(module, "load_plugins", Installed)
        target._list_all_patterns.cache_clear()
        yield
    target._list_all_patterns.cache_clear()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder of all parts."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    text = {"d_model": 24, "d_kv": 8, "d_ff": 48, "num_heads": 3, "num_layers": 1, "vocab_size": 8}
    image = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**image, image_size=28, patch_size=7, projection_dim=768)
    models = {
        "transformer": Transformer3DModel(**TRANSFORMER),
        "vae": TinyVae(**VAE),
        "text_encoder": T5EncoderModel(T5Config(**text, feed_forward_proj="gated-gelu")),
        "image_encoder": CLIPVisionModelWithProjection(vision),
        "scheduler": DDIMScheduler(beta_end=0.03),
    }
    for role, model in models.items():
        model.save_pretrained(folder / role)
    CLIPImageProcessorPil(size={"shortest_edge": 28}).save_pretrained(folder / "image_encoder")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nboat\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def own_checkpoint(checkpoint, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(checkpoint, tmp_path / "own")


class TestTiny(ReleaseContract):
    release = TINY
    extras = {"vae": "loss.logvar", "text_encoder": "lm_head.weight", "image_encoder": "logit_scale"}


class TestIdentify:
    """The surest sign counts."""

    @pytest.mark.parametrize(
        ("config", "sure"),
        [
            ({"_class_name": "Transformer3DModel", "enable_uvit": True}, 4),
            ({"_class_name": "PixArtTransformer2DModel"}, 2),
            ({"_class_name": "HunyuanTransformer3DModel", "enable_uvit": True}, 0),
            ({"enable_uvit": True}, 0),
        ],
    )
    def test_by_class_and_sign(self, own_checkpoint, config, sure):
        fields = {"_class_name": None, "enable_uvit": None}
        edit_config(own_checkpoint / "transformer", **(fields | config))
        assert TINY.identify(WeightsFolder(own_checkpoint)) == sure

    def test_without_signs_by_the_class_alone(self, checkpoint):
        assert replace(TINY, signs=(), sure=3).identify(WeightsFolder(checkpoint)) == 3


def test_another_class_is_refused_before_anything_else(own_checkpoint):
    edit_config(own_checkpoint / "transformer", _class_name="UNet2DConditionModel")
    with pytest.raises(WeightsError, match=r"class UNet2DConditionModel(?s:.*)Transformer\.\.\. or PixArt\.\.\."):
        TINY.check_weights(WeightsFolder(own_checkpoint))


def test_image_parts_are_there_where_the_transformer_takes_images(own_checkpoint):
    (own_checkpoint / "image_encoder").rename(own_checkpoint / "elsewhere")
    Transformer3DModel(**(TRANSFORMER | {"in_channels": 4})).save_pretrained(own_checkpoint / "transformer")
    components = TINY.load_components(LoadOptions(weights=WeightsFolder(own_checkpoint), device="cpu"))
    assert components.keys() == TINY.parts.keys()
    assert TINY.build_pipeline(components).parts.image is None


def test_a_check_of_its_own_comes_first(checkpoint):
    def refuse(folder):
        raise WeightsError(f"Never {folder.path.name}.")

    picky = replace(TINY, check_more=refuse)
    with pytest.raises(WeightsError, match="Never tiny"):
        picky.check_weights(WeightsFolder(checkpoint))


def test_the_weights_complete_the_release(checkpoint):
    def complete(folder):
        return {"shapes": ShapeRule(max_frames=folder.config("transformer")["num_layers"] * 8), "samplers": ("ddim",)}

    release, folder = replace(TINY, complete=complete), WeightsFolder(checkpoint)
    pipeline = release.load(LoadOptions(weights=folder, device="cpu"))
    spec = complete_spec(release.spec(), folder)
    assert pipeline.pipeline.parts.codec.shapes == spec.shapes == ShapeRule(max_frames=16)
    assert spec.samplers == ("ddim",)


def test_the_spec_says_what_the_release_says():
    spec = TINY.spec()
    assert (spec.key, spec.tasks, spec.shapes, spec.samplers) == ("tiny", tuple(Task), TINY.shapes, "registered")
    assert [part.name for part in spec.part_files] == ["transformer"]
    assert (spec.load, spec.identify, spec.check_weights) == (TINY.load, TINY.identify, TINY.check_weights)


@pytest.mark.parametrize(("channels", "takes_images"), [(12, True), (4, False)])
def test_a_transformer_without_pictures_goes_on_from_none(tmp_path, channels, takes_images):
    """So that an image, and a long video, is refused before anything is loaded."""
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"in_channels": channels}))
    tasks = complete_spec(TINY.spec(), WeightsFolder(tmp_path)).tasks
    assert (Task.IMAGE_TO_VIDEO in tasks) == takes_images
    assert set(tasks) | {Task.IMAGE_TO_VIDEO} == set(Task)
