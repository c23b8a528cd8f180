"""What this package adds to `ea`: the model `v3` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import WeightsError, WeightsSource, hookimpl
from easyanimate_dit.loading.part import (
    CLIP,
    PIXART_CLASSES,
    PIXART_SCHEDULER,
    T5,
    VAE_EXTRAS,
    ModelPart,
    SchedulerPart,
    TokenizerPart,
    complete_pixart_config,
)
from easyanimate_dit.loading.release import Release

from easyanimate_v3.config import (
    EASYANIMATE_V3_VAE,
    EASYANIMATE_V3_XL_2_INP_512X512,
    EASYANIMATE_V3_XL_2_INP_768X768,
    EASYANIMATE_V3_XL_2_INP_960X960,
    EASYANIMATE_V3_XL_2_INP_TRANSFORMER,
    SHAPES,
    TRAINED_512,
    TRAINED_768,
    TRAINED_960,
)
from easyanimate_v3.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core import ModelSpec, WeightsFolder

_RELEASES = {
    "official": ("512x512", EASYANIMATE_V3_XL_2_INP_512X512, TRAINED_512),
    "768": ("768x768", EASYANIMATE_V3_XL_2_INP_768X768, TRAINED_768),
    "960": ("960x960", EASYANIMATE_V3_XL_2_INP_960X960, TRAINED_960),
}

INPAINT_CHANNELS = 12
"""Channels of a transformer that takes the mask and the given clip beside the noisy one."""


def refuse_other_vae(folder: WeightsFolder) -> None:
    """Raise `WeightsError` for a folder with the VAE of V2, whose configuration has the same fields."""
    if folder.config("vae").get("slice_mag_vae"):
        raise WeightsError(
            f"The VAE in this folder is that of V2: {folder.path / 'vae'}",
            received="slice_mag_vae: true",
            expected="the slice VAE of V3, with slice_compression_vae: true",
            fix="put the folder vae of a V3 release in its place",
        )


V3 = Release(
    key="v3",
    summary="EasyAnimate V3: PixArt with hybrid motion modules, start and end images, up to 144 frames at 24 fps",
    parts={
        "transformer": ModelPart(
            target="easyanimate_dit.pixart:Transformer3DModel",
            config=EASYANIMATE_V3_XL_2_INP_TRANSFORMER,
            complete=complete_pixart_config,
            example={"num_layers": 2, "sample_size": 128},
        ),
        "vae": ModelPart(
            target="easyanimate_vae.autoencoder:AutoencoderKLMagvit",
            config=EASYANIMATE_V3_VAE,
            extras=VAE_EXTRAS,
            overflows=True,
        ),
        "text_encoder": T5,
        "tokenizer": TokenizerPart("transformers:T5Tokenizer"),
        "scheduler": SchedulerPart(PIXART_SCHEDULER),
    },
    image_parts=CLIP,
    takes_images=lambda config: config["in_channels"] == INPAINT_CHANNELS,
    make_version_parts="easyanimate_v3.version:make_version_parts",
    class_prefixes=PIXART_CLASSES,
    signs=(
        (5, lambda folder: folder.config("transformer").get("in_channels") == INPAINT_CHANNELS),
        (5, lambda folder: folder.config("transformer").get("basic_block_type") == "global_motionmodule"),
        (5, lambda folder: any(name.startswith("clip_projection.") for name in folder.tensors("transformer"))),
        (5, lambda folder: bool(folder.config("vae").get("slice_compression_vae"))),
    ),
    check_more=refuse_other_vae,
    defaults=EASYANIMATE_V3_XL_2_INP_512X512,
    shapes=SHAPES,
    trained=TRAINED_512,
    training=TRAINING,
)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V3."""
    yield V3.spec()


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the official checkpoints."""
    for name, (size, defaults, trained) in _RELEASES.items():
        yield WeightsSource(
            model="v3",
            name=name,
            summary=f"EasyAnimateV3-XL-2-InP-{size}: text and image to video, 1.5 billion parameters",
            licence="apache-2.0",
            hub_id=f"alibaba-pai/EasyAnimateV3-XL-2-InP-{size}",
            folder=f"Diffusion_Transformer/EasyAnimateV3-XL-2-InP-{size}",
            size_bytes=18_200_000_000,
            defaults=defaults,
            trained=trained,
        )
