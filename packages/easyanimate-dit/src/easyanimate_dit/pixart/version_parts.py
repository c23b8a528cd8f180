"""What all PixArt models have in common for sampling: one T5, sizes, the embedding of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_dit.pixart import NUM_CLIP_TOKENS, Transformer3DModel
from easyanimate_dit.pixart.caption_cleaning import clean_caption
from easyanimate_dit.sampling.conditioning import ClipEmbedConditioner, PixArtSizeConditioner
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from easyanimate_dit.sampling.version_parts import VersionParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.shapes import ShapeRule

    from easyanimate_dit.sampling.inpaint import Inpainter

_TEXT_LENGTH = 120
"""Tokens of a prompt in training."""


def make_pixart_parts(
    components: Mapping[str, Any], shapes: ShapeRule, *, smooth: bool, inpaint: Inpainter | None = None
) -> VersionParts:
    """What the sampling pipeline is given.

    Args:
        components: Parts by role: "vae", "text_encoder", "tokenizer", "transformer", "scheduler", and "image_encoder"
            and "image_processor" where the transformer takes a picture.
        shapes: Which clips there are.
        smooth: Whether the borders of the VAE's chunks are smoothed.
        inpaint: How a clip that is given in part is kept; None for a version that cannot.
    """
    transformer: Transformer3DModel = components["transformer"]
    tokenizer = components["tokenizer"]
    text = TextBranch(
        tokenizer=tokenizer,
        encoder=components["text_encoder"],
        length=min(_TEXT_LENGTH, tokenizer.model_max_length),
        states="encoder_hidden_states",
        mask="encoder_attention_mask",
        clean=clean_caption,
    )
    image = None
    if transformer.has_clip:
        image = ClipEmbedConditioner(components["image_processor"], components["image_encoder"], NUM_CLIP_TOKENS)
    return VersionParts(
        text=TextConditioner((text,)),
        size=PixArtSizeConditioner(transformer.has_size_condition),
        codec=LatentCodec(components["vae"], shapes, smooth=smooth),
        inpaint=inpaint,
        image=image,
    )
