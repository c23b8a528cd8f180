"""A plain video transformer: patches of the latents see one another and the words; the timestep modulates them.

Axes: B videos, C channels, t frames, h rows, w columns of latents; N patches, L words, D features.
"""

from typing import Any, NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn
from torch.nn import functional


class Condition(NamedTuple):
    """What stays the same over the steps of a run: words [B, L, D], which are real [B, L], their mean [B, D]."""

    words: Tensor
    mask: Tensor
    summary: Tensor


class Block(nn.Module):
    """Patches attend to all patches and all words, then an MLP; both modulated by timestep and text (adaLN-zero)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 6 * width)
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, signal: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Patches [B, N, D] in and out; the signal is [B, D], the mask of patches and words [B, 1, 1, N + L]."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(signal)[:, None].chunk(6, dim=-1)
        patches = self.norm(x) * (1 + scale) + shift
        keys, values = self.to_kv(torch.cat([patches, words], dim=1)).chunk(2, dim=-1)
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.to_q(patches), keys, values)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + gate * self.to_out(attended.transpose(1, 2).flatten(2))
        return x + mlp_gate * self.mlp(self.norm(x) * (1 + mlp_scale) + mlp_shift)


class PlainTransformer(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin):
    """Predicts the velocity of noisy latents; takes LoRAs (`PeftAdapterMixin`) and caches (`CacheMixin`)."""

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        patch_size: int = 2,
        width: int = 128,
        num_heads: int = 4,
        num_layers: int = 4,
        text_width: int = 64,
        max_length: int = 32,  # patches along one axis
    ) -> None:
        super().__init__()
        self.patch_size, self.gradient_checkpointing = patch_size, False
        values = latent_channels * patch_size**2
        self.patch_in, self.patch_out = nn.Linear(values, width), nn.Linear(width, values)
        self.places = nn.Parameter(0.5 * torch.randn(3, max_length, width))
        self.text = nn.Sequential(nn.Linear(text_width, width), nn.SiLU(), nn.Linear(width, width))
        self.time_waves, self.time = Timesteps(width, True, 0), TimestepEmbedding(width, width)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))

    @apply_forward_hook  # so that offloading knows that the network is used
    def encode_condition(self, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor) -> Condition:
        """The words of B prompts, from the states [B, L, text_width] and the mask [B, L] of the text encoder."""
        words, mask = self.text(encoder_hidden_states), encoder_attention_mask.bool()
        weight = mask[..., None].to(words.dtype)
        return Condition(words, mask, (words * weight).sum(1) / weight.sum(1).clamp(min=1))

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        *,
        condition: Condition | None = None,
        return_dict: bool = True,
        **conditions: Tensor,
    ) -> Any:
        """Predict [B, C, t, h, w]: sampling gives what `encode_condition` made, training what it is made of."""
        if condition is None:
            condition = self.encode_condition(**conditions)
        p, (_, _, frames, height, width) = self.patch_size, hidden_states.shape
        grid = hidden_states.unflatten(4, (width // p, p)).unflatten(3, (height // p, p))  # B C t h p w p
        x = self.patch_in(grid.permute(0, 2, 3, 5, 1, 4, 6).flatten(4))  # B t h w D
        for axis, length in enumerate(x.shape[1:4]):
            x = x + self.places[axis, :length].view(*(-1 if other == axis else 1 for other in range(3)), x.shape[-1])
        x = x.flatten(1, 3)
        signal = self.time(self.time_waves(timestep).to(x.dtype)) + condition.summary
        mask = functional.pad(condition.mask, (x.shape[1], 0), value=True)[:, None, None]
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = self._gradient_checkpointing_func(block, x, signal, condition.words, mask)
            else:
                x = block(x, signal, condition.words, mask)
        values = self.patch_out(x).unflatten(2, (-1, p, p)).unflatten(1, (frames, height // p, width // p))
        sample = values.permute(0, 4, 1, 2, 5, 3, 6).flatten(5).flatten(3, 4)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)
