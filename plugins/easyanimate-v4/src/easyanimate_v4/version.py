"""What makes V4 V4: two text encoders, sizes and rotary tables, CLIP tokens, channels for what is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_dit.sampling.conditioning import ClipTokenConditioner, HunyuanSizeConditioner
from easyanimate_dit.sampling.inpaint import BlendInpainter, ChannelInpainter
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from easyanimate_dit.sampling.version_parts import VersionParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.shapes import ShapeRule


def make_version_parts(components: Mapping[str, Any], shapes: ShapeRule) -> VersionParts:
    """What the sampling pipeline is given; `image_encoder` and `image_processor` are needed by InP alone."""
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
    return VersionParts(
        text=text,
        size=HunyuanSizeConditioner(config.attention_head_dim, config.patch_size),
        codec=LatentCodec(components["vae"], shapes),
        inpaint=ChannelInpainter() if transformer.has_clip else BlendInpainter(),
        image=image,
        image_frames=3,
        image_share=0.4,
    )
