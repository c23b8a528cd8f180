"""V4 components to a pipeline, and a weights folder to components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core import WeightsError
from easyanimate_core.part_files import check_transformer_file
from easyanimate_dit.hunyuan import HunyuanTransformer3DModel
from easyanimate_dit.loading.component import (
    TEXT_ENCODER_EXTRAS,
    finish_loading,
    load_clip,
    load_model,
    load_scheduler,
    load_t5,
)
from easyanimate_dit.loading.encoder import load_encoder, load_tokenizer
from easyanimate_dit.loading.placement import place_pipeline
from easyanimate_dit.sampling.conditioning import ClipTokenConditioner, HunyuanSizeConditioner
from easyanimate_dit.sampling.inpaint import BlendInpainter, ChannelInpainter
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
from easyanimate_dit.sampling.request_pipeline import RequestPipeline
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from easyanimate_dit.sampling.version_parts import VersionParts
from easyanimate_torch.device import choose_device, choose_dtype, choose_vae_dtype
from easyanimate_vae import AutoencoderKLMagvit
from transformers import BertModel, BertTokenizer, T5Tokenizer

from easyanimate_v4.check import check_weights, takes_images
from easyanimate_v4.config import EASYANIMATE_V4_VAE, EASYANIMATE_V4_XL_2_INP_TRANSFORMER, SHAPES, VAE_EXTRAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core import LoadOptions


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
        WeightsError: the folder does not hold whole V4 weights, or a LoRA does not fit.
    """
    folder = options.weights
    if folder is None:
        raise WeightsError("V4 needs weights.", received="none", fix="ea weights pull v4 official")
    check_weights(folder)
    check_transformer_file(options)
    dtype = choose_dtype(options.dtype, choose_device(options.device))
    components: dict[str, Any] = {
        "transformer": load_model(
            HunyuanTransformer3DModel, folder / "transformer", dtype, EASYANIMATE_V4_XL_2_INP_TRANSFORMER
        ),
        "vae": load_model(
            AutoencoderKLMagvit, folder / "vae", choose_vae_dtype(dtype), EASYANIMATE_V4_VAE, known_extras=VAE_EXTRAS
        ),
        # The pooler is never used, so it does not matter whether the file has one.
        "text_encoder": load_encoder(
            BertModel,
            folder / "text_encoder",
            dtype=dtype,
            known_extras=TEXT_ENCODER_EXTRAS,
            add_pooling_layer=False,
        ),
        "text_encoder_2": load_t5(folder / "text_encoder_2", dtype),
        "tokenizer": load_tokenizer(BertTokenizer, folder / "tokenizer"),
        "tokenizer_2": load_tokenizer(T5Tokenizer, folder / "tokenizer_2"),
        "scheduler": load_scheduler(folder / "scheduler"),
    }
    if takes_images(folder):
        components |= load_clip(folder, dtype)
    finish_loading(components, options)
    return components


def build_pipeline(components: Mapping[str, Any]) -> EasyAnimatePipeline:
    """Assemble the pipeline from parts by role; `image_encoder` and `image_processor` are needed by InP alone."""
    transformer = components["transformer"]
    config = transformer.config
    text = TextConditioner(
        (
            TextBranch(
                tokenizer=components["tokenizer"],
                encoder=components["text_encoder"],
                length=config.text_len,
                states="encoder_hidden_states",
                mask="text_embedding_mask",
            ),
            TextBranch(
                tokenizer=components["tokenizer_2"],
                encoder=components["text_encoder_2"],
                length=config.text_len_t5,
                states="encoder_hidden_states_t5",
                mask="text_embedding_mask_t5",
            ),
        )
    )
    image = None
    if transformer.has_clip:
        image = ClipTokenConditioner(components["image_processor"], components["image_encoder"], config.n_query)
    parts = VersionParts(
        text=text,
        size=HunyuanSizeConditioner(config.attention_head_dim, config.patch_size),
        codec=LatentCodec(components["vae"], SHAPES),
        inpaint=ChannelInpainter() if transformer.has_clip else BlendInpainter(),
        image=image,
        image_frames=3,
        image_share=0.4,
    )
    return EasyAnimatePipeline(**components, parts=parts)
