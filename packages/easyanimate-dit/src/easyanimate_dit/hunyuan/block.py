"""One block of the V4 transformer.

Axes: B batch, N tokens of all frames, F latent frames, C inner width, M text tokens, D1 their width, Q CLIP tokens.
"""

# ruff: noqa: PLR0913, PLR0917 (what a block is made of, and what it works on)

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from easyanimate_dit.attention import Attention, RotaryTable
from easyanimate_dit.diffusers_private import FeedForward, register_transformer_block
from easyanimate_dit.hunyuan.embedding import FramePosition
from easyanimate_dit.hunyuan.normalization import ShiftedLayerNorm
from easyanimate_dit.normalization import LayerNorm


class ClipGate(nn.Module):
    """Gated projection after the CLIP attention: one half times GELU of the other.

    The epsilon of its norm is the width itself. That looks like a slip in the original, but the released weights were
    trained with it, so it is part of the function.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim, eps=float(dim))
        self.proj = nn.Linear(dim, 2 * dim)

    def forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        """Gate the tokens."""
        value, gate = self.proj(self.norm(x)).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class HunyuanDiTBlock(nn.Module):
    """One block; the long skip is merged inside, so that caches which replace whole blocks stay right."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        feed_forward_dim: int,
        cross_attention_dim: int,
        activation_fn: str = "gelu-approximate",
        has_skip: bool = False,
        has_clip: bool = False,
        time_position_encoding: bool = True,
        after_norm: bool = False,
    ) -> None:
        super().__init__()
        # 1. Self-attention
        self.norm1 = ShiftedLayerNorm(dim)
        self.t_embed = FramePosition(dim) if time_position_encoding else None
        self.attn1 = Attention(dim, heads=heads, qk_norm=True)

        # 2. Cross-attention to the text
        self.norm2 = LayerNorm(dim, eps=1e-6)
        self.attn2 = Attention(dim, heads=heads, cross_attention_dim=cross_attention_dim, qk_norm=True)

        # 3. Cross-attention to the reference image; starts as zero, so that a text model can be continued
        if has_clip:
            self.norm_clip = LayerNorm(dim, eps=1e-6)
            self.attn_clip = Attention(dim, heads=heads, cross_attention_dim=cross_attention_dim, qk_norm=True)
            self.gate_clip = ClipGate(dim)
            self.norm_clip_out = LayerNorm(dim, eps=1e-6)
            nn.init.zeros_(self.norm_clip_out.weight)

        # 4. Feed-forward
        self.norm3 = LayerNorm(dim, eps=1e-6)
        self.ff = FeedForward(dim, activation_fn=activation_fn, inner_dim=feed_forward_dim)
        self.norm4 = LayerNorm(dim, eps=1e-6) if after_norm else None

        # 5. Long skip
        if has_skip:
            self.skip_norm = LayerNorm(2 * dim, eps=1e-6)
            self.skip_linear = nn.Linear(2 * dim, dim)

    def forward(
        self,
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M D1"],
        activated_temb: Float[Tensor, "B C"],
        rotary_emb: RotaryTable | None = None,
        frame_index: Int[Tensor, " F"] | None = None,
        clip_hidden_states: Float[Tensor, "B Q D1"] | None = None,
        skip: Float[Tensor, "B N C"] | None = None,
    ) -> Float[Tensor, "B N C"]:
        """Transform the tokens.

        Args:
            hidden_states: tokens of all frames.
            encoder_hidden_states: text tokens.
            activated_temb: SiLU(conditioning vector).
            rotary_emb: (cos, sin) of all tokens, each [N, D / 2].
            frame_index: index of every frame, or None for a single image, which has no frame position.
            clip_hidden_states: resampled CLIP tokens, for blocks with the CLIP branch.
            skip: output of the mirrored earlier block, for blocks with a long skip.
        """
        # 0. Long skip, then the frame positions, which stay in the residual stream
        if skip is not None:
            hidden_states = self.skip_linear(self.skip_norm(torch.cat([hidden_states, skip], dim=-1)))
        if self.t_embed is not None and frame_index is not None:
            hidden_states = self.t_embed(hidden_states, frame_index)

        # 1. Self-attention
        hidden_states = hidden_states + self.attn1(self.norm1(hidden_states, activated_temb), None, rotary_emb)

        # 2. Cross-attention to the text
        hidden_states = hidden_states + self.attn2(self.norm2(hidden_states), encoder_hidden_states, rotary_emb)

        # 3. Cross-attention to the reference image
        if clip_hidden_states is not None:
            attended = self.attn_clip(self.norm_clip(hidden_states), clip_hidden_states, rotary_emb)
            hidden_states = hidden_states + self.norm_clip_out(self.gate_clip(attended))

        # 4. Feed-forward
        transformed = self.ff(self.norm3(hidden_states))
        if self.norm4 is not None:
            transformed = self.norm4(transformed)
        return hidden_states + transformed


register_transformer_block(HunyuanDiTBlock)
