"""The one place that imports what diffusers does not promise to keep; everything else uses its public names."""

from collections.abc import Callable
from functools import partial
from typing import Any

from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import AttentionMixin, AttentionModuleMixin, FeedForward
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import PixArtAlphaTextProjection, TimestepEmbedding, get_timestep_embedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput

__all__ = [
    "AttentionMixin",
    "AttentionModuleMixin",
    "ContextParallelInput",
    "ContextParallelOutput",
    "FeedForward",
    "PixArtAlphaTextProjection",
    "TimestepEmbedding",
    "Transformer2DModelOutput",
    "dispatch_attention_fn",
    "get_timestep_embedding",
    "load_caption_rules",
    "register_transformer_block",
]


def register_transformer_block(block_class: type) -> None:
    """Tell diffusers' block caches that `block_class.forward` takes and returns `hidden_states` alone.

    The entry is written past `TransformerBlockRegistry.register`, which would import every model of diffusers first;
    diffusers adds its own entries when a cache is switched on.
    """
    metadata = TransformerBlockMetadata(return_hidden_states_index=0)
    metadata._cls = block_class  # noqa: SLF001
    TransformerBlockRegistry._registry[block_class] = metadata  # noqa: SLF001


def load_caption_rules() -> Callable[[str], str]:
    """One pass of the caption cleaning of diffusers' PixArt pipeline."""
    from diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha import PixArtAlphaPipeline

    pipeline_class: Any = PixArtAlphaPipeline  # the method uses constants of the class only
    return partial(pipeline_class._clean_caption, pipeline_class)  # noqa: SLF001
