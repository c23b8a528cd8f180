"""The models that are installed while the tests of LoRA run: small ones of this package, whatever plugins there are."""

import pytest
from easyanimate_core import ModelSpec
from easyanimate_dit.loading.part import T5, EncoderPart, ModelPart
from easyanimate_dit.lora import target

_HYBRID = {
    "basic_block_type": "global_motionmodule",
    "enable_uvit": True,
    "motion_module_kwargs_even": {"attention_block_types": ("Temporal_Self", "Temporal_Self")},
    "motion_module_kwargs_odd": {"attention_block_types": ("Temporal_Self", "Global_Self")},
}
PIXART = {
    "v1": {"motion_module_type": "VanillaGrid", "motion_module_kwargs": {"block_size": 2}},
    "v2": {"enable_uvit": True},
    "v3": {"in_channels": 12, **_HYBRID},
}
"""What differs between the transformers of three models that share a class."""

BERT = EncoderPart(target="transformers:BertModel", example={"num_hidden_layers": 1})


class Installed:
    """Stands for what `load_plugins` gives."""

    def models(self):
        sizes = {"num_layers": 2, "sample_size": 128}
        parts = {
            key: (ModelPart(target="easyanimate_dit.pixart:Transformer3DModel", config=sizes | config), T5)
            for key, config in PIXART.items()
        }
        sizes = {"num_layers": 4, "patch_size": 1, "projection_dim": 8}
        parts["v4"] = ModelPart(target="easyanimate_dit.hunyuan:HunyuanTransformer3DModel", config=sizes), BERT
        models = {key: self.make_model(key, *pair) for key, pair in parts.items()}
        return models | {"other": ModelSpec(key="other", summary="Takes no LoRA.", load=lambda _: None)}

    def make_model(self, key, transformer, text_encoder):
        def list_lora_targets():
            return {
                "transformer": transformer.list_lora_targets(),
                "text_encoder": text_encoder.list_lora_targets(),
            }

        return ModelSpec(key=key, summary=key, load=lambda _: None, list_lora_targets=list_lora_targets)


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Four models that take LoRA files, and one that does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "load_plugins", Installed)
        target._list_all_patterns.cache_clear()
        yield
    target._list_all_patterns.cache_clear()


@pytest.fixture(scope="session")
def pixart_configs():
    """What differs between the transformers of V1, V2 and V3, by key."""
    return PIXART
