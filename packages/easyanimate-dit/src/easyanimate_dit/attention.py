"""Attention of the V4 transformer: normalised queries and keys, rotary positions, diffusers' interchangeable backends.

Axes: B batch, N tokens, M context tokens, C inner width, D head width.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.diffusers_private import AttentionModuleMixin, dispatch_attention_fn
from easyanimate_dit.hunyuan.rotary import RotaryTable, rotate
from easyanimate_dit.normalization import LayerNorm


class HunyuanAttnProcessor:
    """Scaled dot-product attention through diffusers' backend dispatch; it needs no mask."""

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        attn: "HunyuanAttention",
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M E"] | None,
        rotary_emb: RotaryTable | None,
    ) -> Float[Tensor, "B N C"]:
        """Attend from `hidden_states` to `encoder_hidden_states`, or to itself when that is None."""
        # 1. Project
        query, key, value = attn.project(hidden_states, encoder_hidden_states)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in (query, key, value))

        # 2. Normalise per head, then rotate; keys of the context carry no position in the video
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
            backend=self._attention_backend,
            parallel_config=None if attn.is_cross_attention else self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](attended.flatten(2).to(query.dtype)))


class HunyuanAttention(nn.Module, AttentionModuleMixin):
    """Self-attention, or cross-attention when `cross_attention_dim` is given."""

    _default_processor_cls = HunyuanAttnProcessor
    _available_processors = [HunyuanAttnProcessor]  # noqa: RUF012 (diffusers' convention)
    processor: Any

    def __init__(self, dim: int, *, heads: int, head_dim: int, cross_attention_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.is_cross_attention = cross_attention_dim is not None
        self.use_bias = True
        inner_dim, context_dim = heads * head_dim, cross_attention_dim or dim

        self.norm_q = LayerNorm(head_dim, eps=1e-6)
        self.norm_k = LayerNorm(head_dim, eps=1e-6)
        self.to_q = nn.Linear(dim, inner_dim)
        self.to_k = nn.Linear(context_dim, inner_dim)
        self.to_v = nn.Linear(context_dim, inner_dim)
        self.to_out = nn.ModuleList([nn.Linear(inner_dim, dim), nn.Dropout(0.0)])
        self.processor = HunyuanAttnProcessor()

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
    ) -> Float[Tensor, "B N C"]:
        """Attend; `rotary_emb` is (cos, sin) of all tokens as `rotary.TokenPosition` returns it."""
        return self.processor(self, hidden_states, encoder_hidden_states, rotary_emb)
