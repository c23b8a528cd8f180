"""Attention of the PixArt transformer and its motion modules, with diffusers' interchangeable backends.

Axes: B batch, N tokens, M context tokens, C inner width, E context width.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.diffusers_private import AttentionModuleMixin, dispatch_attention_fn


class PixArtAttnProcessor:
    """Scaled dot-product attention through diffusers' backend dispatch."""

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        attn: "PixArtAttention",
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M E"] | None,
        bias: Float[Tensor, "B 1 1 M"] | None,
    ) -> Float[Tensor, "B N C"]:
        """Attend from `hidden_states` to `encoder_hidden_states`, or to itself when that is None."""
        projected = attn.project(hidden_states, encoder_hidden_states)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in projected)
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=bias,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](attended.flatten(2).to(query.dtype)))


class PixArtAttention(nn.Module, AttentionModuleMixin):
    """Self-attention, or cross-attention when `cross_attention_dim` is given.

    Args:
        dim: Inner width C.
        heads: Number of heads; they share the width.
        cross_attention_dim: Width E of the context.
        bias: Whether query, key and value have biases; the output always has.
    """

    _default_processor_cls = PixArtAttnProcessor
    _available_processors = [PixArtAttnProcessor]  # noqa: RUF012 (diffusers' convention)
    processor: Any

    def __init__(self, dim: int, *, heads: int, cross_attention_dim: int | None = None, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.is_cross_attention = cross_attention_dim is not None
        self.use_bias = bias
        context_dim = cross_attention_dim or dim
        self.to_q = nn.Linear(dim, dim, bias=bias)
        self.to_k = nn.Linear(context_dim, dim, bias=bias)
        self.to_v = nn.Linear(context_dim, dim, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(0.0)])
        self.processor = PixArtAttnProcessor()

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
        bias: Float[Tensor, "B 1 1 M"] | None = None,
    ) -> Float[Tensor, "B N C"]:
        """Attend; `bias` is added to the scores of the context tokens."""
        return self.processor(self, hidden_states, encoder_hidden_states, bias)
