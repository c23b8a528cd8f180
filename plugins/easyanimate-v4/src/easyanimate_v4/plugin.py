"""What this package adds to `ea`: the model `v4` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import WeightsSource, hookimpl
from easyanimate_dit.loading.part import (
    CLIP,
    T5,
    TEXT_EXTRAS,
    VAE_EXTRAS,
    EncoderPart,
    ModelPart,
    SchedulerPart,
    TokenizerPart,
)
from easyanimate_dit.loading.release import Release

from easyanimate_v4.config import EASYANIMATE_V4_VAE, EASYANIMATE_V4_XL_2_INP_TRANSFORMER, SHAPES, TRAINED
from easyanimate_v4.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core import ModelSpec

V4 = Release(
    key="v4",
    summary="EasyAnimate V4: Hunyuan-DiT with full 3D attention, English and Chinese, up to 144 frames at 24 fps",
    parts={
        "transformer": ModelPart(
            target="easyanimate_dit.hunyuan:HunyuanTransformer3DModel",
            config=EASYANIMATE_V4_XL_2_INP_TRANSFORMER,
            example={"num_layers": 4, "patch_size": 1, "projection_dim": 8},
        ),
        "vae": ModelPart(
            target="easyanimate_vae.autoencoder:AutoencoderKLMagvit",
            config=EASYANIMATE_V4_VAE,
            extras=VAE_EXTRAS,
            overflows=True,
        ),
        # The pooler is never used, so it does not matter whether the file has one.
        "text_encoder": EncoderPart(
            target="transformers:BertModel",
            extras=TEXT_EXTRAS,
            options={"add_pooling_layer": False},
            example={"num_hidden_layers": 1},
        ),
        "text_encoder_2": T5,
        "tokenizer": TokenizerPart("transformers:BertTokenizer"),
        "tokenizer_2": TokenizerPart("transformers:T5Tokenizer"),
        "scheduler": SchedulerPart(),
    },
    image_parts=CLIP,
    # A text transformer predicts noise and variance of its own channels; an inpainting one takes more than it gives.
    takes_images=lambda config: config["in_channels"] * 2 != config["out_channels"],
    make_version_parts="easyanimate_v4.version:make_version_parts",
    class_prefixes=("Hunyuan",),
    sure=5,
    shapes=SHAPES,
    trained=TRAINED,
    training=TRAINING,
)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V4."""
    yield V4.spec()


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the official checkpoint."""
    yield WeightsSource(
        model="v4",
        name="official",
        summary="EasyAnimateV4-XL-2-InP: text, image and video to video, 2.0 billion parameters",
        licence="tencent-hunyuan-community",
        hub_id="alibaba-pai/EasyAnimateV4-XL-2-InP",
        folder="Diffusion_Transformer/EasyAnimateV4-XL-2-InP",
        size_bytes=14_000_000_000,
    )
