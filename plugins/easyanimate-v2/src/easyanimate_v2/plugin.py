"""What this package adds to `ea`: the model `v2` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import Task, WeightsSource, hookimpl
from easyanimate_dit.loading.motion_file import holds_motion_module
from easyanimate_dit.loading.part import (
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

from easyanimate_v2.config import (
    EASYANIMATE_V2_VAE,
    EASYANIMATE_V2_XL_2_512X512,
    EASYANIMATE_V2_XL_2_768X768,
    EASYANIMATE_V2_XL_2_TRANSFORMER,
    SHAPES,
    TRAINED_512,
    TRAINED_768,
)
from easyanimate_v2.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core import ModelSpec

_RELEASES = {
    "official": ("512x512", EASYANIMATE_V2_XL_2_512X512, TRAINED_512),
    "768": ("768x768", EASYANIMATE_V2_XL_2_768X768, TRAINED_768),
}

V2 = Release(
    key="v2",
    summary="EasyAnimate V2: PixArt with motion modules and long skips, up to 144 frames at 24 fps",
    parts={
        "transformer": ModelPart(
            target="easyanimate_dit.pixart:Transformer3DModel",
            config=EASYANIMATE_V2_XL_2_TRANSFORMER,
            complete=complete_pixart_config,
            example={"num_layers": 2, "sample_size": 128},
        ),
        "vae": ModelPart(
            target="easyanimate_vae.autoencoder:AutoencoderKLMagvit",
            config=EASYANIMATE_V2_VAE,
            extras=VAE_EXTRAS,
            overflows=True,
        ),
        "text_encoder": T5,
        "tokenizer": TokenizerPart("transformers:T5Tokenizer"),
        "scheduler": SchedulerPart(PIXART_SCHEDULER),
    },
    make_version_parts="easyanimate_v2.version:make_version_parts",
    class_prefixes=PIXART_CLASSES,
    # A V3 without pictures has long skips, too: the surest sign counts.
    signs=(
        (4, lambda folder: bool(folder.config("vae").get("slice_mag_vae"))),
        (4, lambda folder: bool(folder.config("transformer").get("enable_uvit"))),
        (4, lambda folder: any(name.startswith("long_connect_fc.") for name in folder.tensors("transformer"))),
        (2, lambda folder: holds_motion_module(folder.tensors("transformer"))),
    ),
    tasks=(Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE),
    defaults=EASYANIMATE_V2_XL_2_512X512,
    shapes=SHAPES,
    trained=TRAINED_512,
    training=TRAINING,
)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V2."""
    yield V2.spec()


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the official checkpoints."""
    for name, (size, defaults, trained) in _RELEASES.items():
        yield WeightsSource(
            model="v2",
            name=name,
            summary=f"EasyAnimateV2-XL-2-{size}: text to video, 1.4 billion parameters",
            licence="apache-2.0",
            hub_id=f"alibaba-pai/EasyAnimateV2-XL-2-{size}",
            folder=f"Diffusion_Transformer/EasyAnimateV2-XL-2-{size}",
            size_bytes=16_200_000_000,
            defaults=defaults,
            trained=trained,
        )
