"""Attention of both transformers and of the motion modules, with diffusers' interchangeable backends.

Axes: B batch, N tokens, M context tokens, C inner width, E context width, D head width.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.diffusers_private import AttentionModuleMixin, dispatch_attention_fn
from easyanimate_dit.normalization import LayerNorm

RotaryTable = tuple[Tensor, Tensor]
"""Cosines and sines of the angles of rotary positions."""


class AttnProcessor:
    """Scaled dot-product attention through diffusers' backend dispatch."""

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        attn: "Attention",
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M E"] | None,
        rotary_emb: RotaryTable | None,
        score_bias: Float[Tensor, "B 1 1 M"] | None,
    ) -> Float[Tensor, "B N C"]:
        """Attend from `hidden_states` to `encoder_hidden_states`, or to itself when that is None."""
        # 1. Project
        projected = attn.project(hidden_states, encoder_hidden_states)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in projected)

        # 2. Normalise per head, then rotate; keys of the context carry no position in the video
        if attn.norm_q is not None and attn.norm_k is not None:
            query, key = attn.norm_q(query), attn.norm_k(key)
        if rotary_emb is not None:
            query = rotate(query, *rotary_emb)
            if not attn.is_cross_attention:
                key = rotate(key, *rotary_emb)

        # 3. Attend. The context is whole on every device, so only self-attention is parallel over tokens.
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=score_bias,
            backend=self._attention_backend,
            parallel_config=None if attn.is_cross_attention else self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](attended.flatten(2).to(query.dtype)))


class Attention(nn.Module, AttentionModuleMixin):
    """Self-attention, or cross-attention when `cross_attention_dim` is given.

    Args:
        dim: Inner width C.
        heads: Number of heads; they share the width.
        cross_attention_dim: Width E of the context.
        bias: Whether query, key and value have biases; the output always has.
        qk_norm: Whether queries and keys are normalised per head.
    """

    _default_processor_cls = AttnProcessor
    _available_processors = [AttnProcessor]  # noqa: RUF012 (diffusers' convention)
    processor: Any

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        cross_attention_dim: int | None = None,
        bias: bool = True,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.is_cross_attention = cross_attention_dim is not None
        self.use_bias = bias
        context_dim = cross_attention_dim or dim
        self.norm_q = LayerNorm(dim // heads, eps=1e-6) if qk_norm else None
        self.norm_k = LayerNorm(dim // heads, eps=1e-6) if qk_norm else None
        self.to_q = nn.Linear(dim, dim, bias=bias)
        self.to_k = nn.Linear(context_dim, dim, bias=bias)
        self.to_v = nn.Linear(context_dim, dim, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(0.0)])
        self.processor = AttnProcessor()

    def project(
        self, hidden_states: Float[Tensor, "B N C"], encoder_hidden_states: Float[Tensor, "B M E"] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return query [B, N, C], key and value [B, M, C]; from the fused projections where there are any."""
        if self.fused_projections and not self.is_cross_attention:
            return self.to_qkv(hidden_states).chunk(3, dim=-1)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if self.fused_projections:
            return self.to_q(hidden_states), *self.to_kv(context).chunk(2, dim=-1)
        return self.to_q(hidden_states), self.to_k(context), self.to_v(context)

    def forward(
        self,
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M E"] | None = None,
        rotary_emb: RotaryTable | None = None,
        score_bias: Float[Tensor, "B 1 1 M"] | None = None,
    ) -> Float[Tensor, "B N C"]:
        """Attend.

        Args:
            hidden_states: Tokens that attend.
            encoder_hidden_states: Context that they attend to; None for themselves.
            rotary_emb: (cos, sin) of all tokens, each [N, D / 2].
            score_bias: Added to the scores of the context tokens.
        """
        return self.processor(self, hidden_states, encoder_hidden_states, rotary_emb, score_bias)


def rotate(
    x: Float[Tensor, "B N heads D"], cos: Float[Tensor, "N half"], sin: Float[Tensor, "N half"]
) -> Float[Tensor, "B N heads D"]:
    """Turn neighbouring channels (even, odd) of every head by the angle of its token.

    The product is formed in float32: 16-bit angles would move distant positions by several pixels.
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[None, :, None], sin[None, :, None]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).to(x.dtype)
