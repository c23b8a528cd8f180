"""One block of the PixArt transformer: an image transformer's, with a motion module in its middle.

Axes: B batch, F latent frames, P tokens of a frame in R rows and K columns, C inner width, M context tokens.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.attention import Attention
from easyanimate_dit.diffusers_private import FeedForward, register_transformer_block
from easyanimate_dit.normalization import LayerNorm
from easyanimate_dit.pixart.motion_module import MotionModule


class PixArtMotionBlock(nn.Module):
    """Attention within each frame, motion module, attention to the prompt, feed-forward.

    Args:
        dim: Inner width C.
        heads: Heads of both attentions.
        cross_attention_dim: Width of the projected prompt.
        attention_bias: Whether query, key and value of both attentions have biases.
        activation_fn: Of the feed-forward, as diffusers names it.
        motion_module: What lets the frames see one another.
    """

    def __init__(  # noqa: PLR0913 (what a block is made of)
        self,
        dim: int,
        *,
        heads: int,
        cross_attention_dim: int,
        attention_bias: bool,
        activation_fn: str,
        motion_module: MotionModule,
    ) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, dim) / dim**0.5)
        # 1. Within each frame
        self.norm1 = LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attn1 = Attention(dim, heads=heads, bias=attention_bias)
        # 2. Between frames
        self.attn_temporal = motion_module
        # 3. To the prompt: neither norm nor gate
        self.attn2 = Attention(dim, heads=heads, cross_attention_dim=cross_attention_dim, bias=attention_bias)
        # 4. Feed-forward
        self.norm2 = LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.ff = FeedForward(dim, activation_fn=activation_fn)

    def forward(  # noqa: PLR0913, PLR0917 (what it works on; gradient checkpointing passes by position)
        self,
        hidden_states: Float[Tensor, "B F P C"],
        encoder_hidden_states: Float[Tensor, "B M C"],
        encoder_bias: Float[Tensor, "B 1 1 M"] | None,
        modulation: Float[Tensor, "B 6 C"],
        grid: tuple[int, int],
        skip: Float[Tensor, "B F P C"] | None = None,
    ) -> Float[Tensor, "B F P C"]:
        """Transform the tokens.

        Args:
            hidden_states: Tokens of each frame.
            encoder_hidden_states: Prompt and picture tokens.
            encoder_bias: Added to the attention scores of the prompt's tokens.
            modulation: Shift, scale and gate of the attention, then of the feed-forward; the block adds its own table.
            grid: Rows and columns of the tokens of a frame.
            skip: Projected output of an earlier block. It is added here and not before, so that caches which replace
                whole blocks stay right.
        """
        # 0. Long skip; the modulation is that of all frames
        if skip is not None:
            hidden_states = hidden_states + skip
        table = self.scale_shift_table.to(modulation.dtype) + modulation
        shift, scale, gate, ff_shift, ff_scale, ff_gate = table[:, :, None, None].unbind(dim=1)

        # 1. Within each frame
        normed = torch.addcmul(shift, self.norm1(hidden_states), 1 + scale)
        attended = self.attn1(normed.flatten(0, 1)).view(hidden_states.shape)
        hidden_states = torch.addcmul(hidden_states, gate, attended)

        # 2. Between frames
        hidden_states = self.attn_temporal(hidden_states, grid)

        # 3. To the prompt
        attended = self.attn2(hidden_states.flatten(1, 2), encoder_hidden_states, score_bias=encoder_bias)
        hidden_states = hidden_states + attended.view(hidden_states.shape)

        # 4. Feed-forward
        normed = torch.addcmul(ff_shift, self.norm2(hidden_states), 1 + ff_scale)
        return torch.addcmul(hidden_states, ff_gate, self.ff(normed))


register_transformer_block(PixArtMotionBlock)
