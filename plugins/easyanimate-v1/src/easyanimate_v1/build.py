"""V1 components to a pipeline, and a weights folder to components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import WeightsError
from easyanimate_dit.loading.component import (
    complete_pixart_config,
    load_model,
    load_scheduler,
    load_t5,
)
from easyanimate_dit.loading.encoder import load_tokenizer
from easyanimate_dit.loading.placement import place_pipeline
from easyanimate_dit.lora.apply import merge_loras
from easyanimate_dit.pixart.motion_module_file import load_motion_transformer
from easyanimate_dit.pixart.pipeline import SCHEDULER, build_pixart_pipeline
from easyanimate_dit.sampling.request_pipeline import RequestPipeline
from easyanimate_torch.device import choose_device, choose_dtype, choose_vae_dtype
from easyanimate_vae import FrameAutoencoder
from transformers import T5Tokenizer

from easyanimate_v1.check import check_weights, find_files, find_motion_module
from easyanimate_v1.config import EASYANIMATE_V1_TRANSFORMER, SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core import LoadOptions
    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline


def load(options: LoadOptions) -> RequestPipeline:
    """Load a folder in the original's layout and put it where it runs; see `ModelSpec.load`."""
    pipeline = build_pipeline(load_components(options))
    pipeline.vae.enable_tiling()  # pictures larger than a tile would take several times the memory
    place_pipeline(pipeline, choose_device(options.device))
    return RequestPipeline(pipeline)


def load_components(options: LoadOptions) -> dict[str, Any]:
    """Load the parts of a folder by role, on the CPU, with motion module and LoRA files merged.

    Args:
        options: `weights` is needed; `device` only decides the dtype where that is open.

    Raises:
        WeightsError: the folder does not hold whole V1 weights, or a further file does not fit.
    """
    folder = options.weights
    if folder is None:
        raise WeightsError("V1 needs weights.", received="none", fix="ea weights pull v1 official")
    check_weights(folder)
    find_files(options)
    transformer = folder / "transformer"
    dtype = choose_dtype(options.dtype, choose_device(options.device))
    components: dict[str, Any] = {
        "transformer": load_motion_transformer(
            complete_pixart_config(transformer, EASYANIMATE_V1_TRANSFORMER),
            transformer,
            find_motion_module(options),
            dtype=dtype,
            replaced=options.transformer,
        ),
        "vae": load_model(FrameAutoencoder, folder / "vae", choose_vae_dtype(dtype), {}),
        "text_encoder": load_t5(folder / "text_encoder", dtype),
        "tokenizer": load_tokenizer(T5Tokenizer, folder / "tokenizer"),
        "scheduler": load_scheduler(folder / "scheduler", SCHEDULER),
    }
    merge_loras(options.loras, components)
    return components


def build_pipeline(components: Mapping[str, Any]) -> EasyAnimatePipeline:
    """Assemble the pipeline from parts by role."""
    return build_pixart_pipeline(components, SHAPES, smooth=False)
