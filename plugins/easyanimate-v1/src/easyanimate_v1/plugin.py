"""What this package adds to `ea`: the model `v1` and its official weights. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import Task, WeightsSource, hookimpl
from easyanimate_core.spec import TRANSFORMER_FILE
from easyanimate_dit.loading.part import (
    PIXART_CLASSES,
    PIXART_SCHEDULER,
    T5,
    ModelPart,
    SchedulerPart,
    TokenizerPart,
    complete_pixart_config,
)
from easyanimate_dit.loading.release import Release

from easyanimate_v1.config import EASYANIMATE_V1_512X512, EASYANIMATE_V1_TRANSFORMER, SHAPES, TRAINED_512
from easyanimate_v1.motion_module import MOTION_MODULE, find_files, refuse_motion_module
from easyanimate_v1.training import TRAINING
from easyanimate_v1.transformer import MotionTransformerPart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core import ModelSpec, WeightsFolder

_IMAGE_AXES = 4
"""Of the weights of a convolution over images; one over clips has five."""


def _has_image_vae(folder: WeightsFolder) -> bool:
    first = folder.tensors("vae").get("encoder.conv_in.weight")
    return first is not None and len(first.shape) == _IMAGE_AXES


V1 = Release(
    key="v1",
    summary="EasyAnimate V1: PixArt with a motion module, an image VAE, 40 to 80 frames at 12 fps",
    parts={
        "transformer": MotionTransformerPart(
            target="easyanimate_dit.pixart:Transformer3DModel",
            config=EASYANIMATE_V1_TRANSFORMER,
            complete=complete_pixart_config,
            example={"num_layers": 2, "sample_size": 128},
        ),
        "vae": ModelPart(target="easyanimate_vae.image:FrameAutoencoder", overflows=True),
        "text_encoder": T5,
        "tokenizer": TokenizerPart("transformers:T5Tokenizer"),
        "scheduler": SchedulerPart(PIXART_SCHEDULER),
    },
    make_version_parts="easyanimate_v1.version:make_version_parts",
    class_prefixes=PIXART_CLASSES,
    signs=(
        (3, lambda folder: folder.config("transformer").get("motion_module_type") == "VanillaGrid"),
        (3, _has_image_vae),
    ),
    # Without any sign it is a plain image transformer, which V1 is built on.
    sure=1,
    check_more=refuse_motion_module,
    tasks=(Task.TEXT_TO_VIDEO,),
    defaults=EASYANIMATE_V1_512X512,
    shapes=SHAPES,
    trained=TRAINED_512,
    training=TRAINING,
    part_files=(TRANSFORMER_FILE, MOTION_MODULE),
    find_files=find_files,
)


@hookimpl
def ea_models() -> Iterable[ModelSpec]:
    """Offer V1."""
    yield V1.spec()


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
