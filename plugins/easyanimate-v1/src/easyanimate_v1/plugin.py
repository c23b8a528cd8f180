"""What this package adds to `ea`: the model `v1` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import ModelSpec, Task, WeightsSource, hookimpl
from easyanimate_dit.sampling.sampler import SAMPLERS

from easyanimate_v1.check import check_weights, find_files
from easyanimate_v1.config import EASYANIMATE_V1_512X512, SHAPES, TRAINED_512
from easyanimate_v1.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core import LoadOptions
    from easyanimate_core.interfaces import VideoPipeline


def _load(options: LoadOptions) -> VideoPipeline:
    from easyanimate_v1.build import load

    return load(options)


def _load_components(options: LoadOptions) -> Mapping[str, Any]:
    from easyanimate_v1.build import load_components

    return load_components(options)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V1."""
    yield ModelSpec(
        key="v1",
        summary="EasyAnimate V1: PixArt with a motion module, an image VAE, 40 to 80 frames at 12 fps",
        load=_load,
        tasks=(Task.TEXT_TO_VIDEO,),
        defaults=EASYANIMATE_V1_512X512,
        shapes=SHAPES,
        trained=TRAINED_512,
        samplers=tuple(spec.name for spec in SAMPLERS),
        check_weights=check_weights,
        components=_load_components,
        find_files=find_files,
        training=TRAINING,
    )


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the image transformer; its motion module goes into `models/Motion_Module`."""
    yield WeightsSource(
        model="v1",
        name="official",
        summary="PixArt-XL-2-512x512, to be used with models/Motion_Module/easyanimate_v1_mm.safetensors",
        licence="openrail++",
        hub_id="PixArt-alpha/PixArt-XL-2-512x512",
        folder="Diffusion_Transformer/PixArt-XL-2-512x512",
        size_bytes=22_000_000_000,
    )
