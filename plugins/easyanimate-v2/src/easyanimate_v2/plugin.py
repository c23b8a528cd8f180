"""What this package adds to `ea`: the model `v2` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import ModelSpec, Task, WeightsSource, hookimpl
from easyanimate_core.part_files import check_transformer_file
from easyanimate_dit.sampling.sampler import SAMPLERS

from easyanimate_v2.check import check_weights
from easyanimate_v2.config import (
    EASYANIMATE_V2_XL_2_512X512,
    EASYANIMATE_V2_XL_2_768X768,
    SHAPES,
    TRAINED_512,
    TRAINED_768,
)
from easyanimate_v2.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core import LoadOptions
    from easyanimate_core.interfaces import VideoPipeline

_RELEASES = {
    "official": ("512x512", EASYANIMATE_V2_XL_2_512X512, TRAINED_512),
    "768": ("768x768", EASYANIMATE_V2_XL_2_768X768, TRAINED_768),
}


def _load(options: LoadOptions) -> VideoPipeline:
    from easyanimate_v2.build import load

    return load(options)


def _load_components(options: LoadOptions) -> Mapping[str, Any]:
    from easyanimate_v2.build import load_components

    return load_components(options)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V2."""
    yield ModelSpec(
        key="v2",
        summary="EasyAnimate V2: PixArt with motion modules and long skips, up to 144 frames at 24 fps",
        load=_load,
        tasks=(Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE),
        defaults=EASYANIMATE_V2_XL_2_512X512,
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
