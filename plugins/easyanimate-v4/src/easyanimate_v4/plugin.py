"""What this package adds to `ea`: the model `v4` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import Defaults, ModelSpec, Task, WeightsSource, hookimpl
from easyanimate_core.part_files import check_transformer_file
from easyanimate_dit.sampling.sampler import SAMPLERS

from easyanimate_v4.check import check_weights
from easyanimate_v4.config import SHAPES, TRAINED
from easyanimate_v4.training import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core import LoadOptions
    from easyanimate_core.interfaces import VideoPipeline


def _load(options: LoadOptions) -> VideoPipeline:
    from easyanimate_v4.build import load

    return load(options)


def _load_components(options: LoadOptions) -> Mapping[str, Any]:
    from easyanimate_v4.build import load_components

    return load_components(options)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V4."""
    yield ModelSpec(
        key="v4",
        summary="EasyAnimate V4: Hunyuan-DiT with full 3D attention, English and Chinese, up to 144 frames at 24 fps",
        load=_load,
        tasks=tuple(Task),
        defaults=Defaults(),
        shapes=SHAPES,
        trained=TRAINED,
        samplers=tuple(spec.name for spec in SAMPLERS),
        check_weights=check_weights,
        components=_load_components,
        find_files=check_transformer_file,
        training=TRAINING,
    )


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
