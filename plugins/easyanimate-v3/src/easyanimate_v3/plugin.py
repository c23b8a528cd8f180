"""What this package adds to `ea`: the model `v3` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import ModelSpec, Task, WeightsSource, hookimpl
from easyanimate_core.part_files import check_transformer_file
from easyanimate_dit.sampling.sampler import SAMPLERS

from easyanimate_v3.check import check_weights
from easyanimate_v3.config import (
    EASYANIMATE_V3_XL_2_INP_512X512,
    EASYANIMATE_V3_XL_2_INP_768X768,
    EASYANIMATE_V3_XL_2_INP_960X960,
    SHAPES,
    TRAINED_512,
    TRAINED_768,
    TRAINED_960,
)
from easyanimate_v3.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core import LoadOptions
    from easyanimate_core.interfaces import VideoPipeline

_RELEASES = {
    "official": ("512x512", EASYANIMATE_V3_XL_2_INP_512X512, TRAINED_512),
    "768": ("768x768", EASYANIMATE_V3_XL_2_INP_768X768, TRAINED_768),
    "960": ("960x960", EASYANIMATE_V3_XL_2_INP_960X960, TRAINED_960),
}


def _load(options: LoadOptions) -> VideoPipeline:
    from easyanimate_v3.build import load

    return load(options)


def _load_components(options: LoadOptions) -> Mapping[str, Any]:
    from easyanimate_v3.build import load_components

    return load_components(options)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V3."""
    yield ModelSpec(
        key="v3",
        summary="EasyAnimate V3: PixArt with hybrid motion modules, start and end images, up to 144 frames at 24 fps",
        load=_load,
        tasks=tuple(Task),
        defaults=EASYANIMATE_V3_XL_2_INP_512X512,
        shapes=SHAPES,
        trained=TRAINED_512,
        samplers=tuple(spec.name for spec in SAMPLERS),
        check_weights=check_weights,
        components=_load_components,
        find_files=check_transformer_file,
        training=TRAINING,
    )


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
