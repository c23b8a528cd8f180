"""V2 components to a pipeline, and a weights folder to components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import WeightsError
from easyanimate_core.part_files import check_transformer_file
from easyanimate_dit.loading.component import (
    finish_loading,
    load_model,
    load_pixart,
    load_scheduler,
    load_t5,
)
from easyanimate_dit.loading.encoder import load_tokenizer
from easyanimate_dit.loading.placement import place_pipeline
from easyanimate_dit.pixart.pipeline import SCHEDULER, build_pixart_pipeline
from easyanimate_dit.sampling.request_pipeline import RequestPipeline
from easyanimate_torch.device import choose_device, choose_dtype, choose_vae_dtype
from easyanimate_vae import AutoencoderKLMagvit
from transformers import T5Tokenizer

from easyanimate_v2.check import check_weights
from easyanimate_v2.config import EASYANIMATE_V2_VAE, EASYANIMATE_V2_XL_2_TRANSFORMER, SHAPES, VAE_EXTRAS

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
    """Load the parts of a folder by role, on the CPU, with LoRA files merged.

    Args:
        options: `weights` is needed; `device` only decides the dtype where that is open.

    Raises:
        WeightsError: the folder does not hold whole V2 weights, or a LoRA does not fit.
    """
    folder = options.weights
    if folder is None:
        raise WeightsError("V2 needs weights.", received="none", fix="ea weights pull v2 official")
    check_weights(folder)
    check_transformer_file(options)
    dtype = choose_dtype(options.dtype, choose_device(options.device))
    components: dict[str, Any] = {
        "transformer": load_pixart(folder / "transformer", dtype, EASYANIMATE_V2_XL_2_TRANSFORMER),
        "vae": load_model(
            AutoencoderKLMagvit, folder / "vae", choose_vae_dtype(dtype), EASYANIMATE_V2_VAE, known_extras=VAE_EXTRAS
        ),
        "text_encoder": load_t5(folder / "text_encoder", dtype),
        "tokenizer": load_tokenizer(T5Tokenizer, folder / "tokenizer"),
        "scheduler": load_scheduler(folder / "scheduler", SCHEDULER),
    }
    finish_loading(components, options)
    return components


def build_pipeline(components: Mapping[str, Any]) -> EasyAnimatePipeline:
    """Assemble the pipeline from parts by role."""
    return build_pixart_pipeline(components, SHAPES, smooth=True)
