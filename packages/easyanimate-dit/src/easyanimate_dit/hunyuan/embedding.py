"""Embeddings of the V4 transformer: patches, time, pooled text, image size, CLIP tokens.

Axes: B batch, F latent frames, H and W latent rows and columns, N tokens, C inner width, D1/D2 width of BERT/T5 states,
S number of T5 positions, Q number of CLIP queries.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from easyanimate_dit.diffusers_private import PixArtAlphaTextProjection, TimestepEmbedding
from easyanimate_dit.embedding import NUM_FREQUENCIES, embed_numbers, make_frame_table, make_grid_table
from easyanimate_dit.normalization import LayerNorm

_POOLER_HEADS = 8
_MAX_FRAMES = 512


class PatchEmbed(nn.Module):
    """Cuts each frame into patches and projects them; the position enters later, by rotation."""

    def __init__(self, in_channels: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, latent: Float[Tensor, "B L F H W"]) -> Float[Tensor, "B N C"]:
        """Return the tokens in the order frame, row, column."""
        frames = latent.transpose(1, 2)
        tokens = self.proj(frames.flatten(0, 1)).flatten(2).transpose(1, 2)
        return tokens.reshape(latent.shape[0], -1, tokens.shape[-1])


class FramePosition(nn.Module):
    """Frame positions, added to the hidden states in every block."""

    pe: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("pe", make_frame_table(_MAX_FRAMES, dim)[None])

    def forward(self, hidden_states: Float[Tensor, "B N C"], frame_index: Int[Tensor, " F"]) -> Float[Tensor, "B N C"]:
        """Add row `frame_index[f]` to every token of the f-th frame."""
        offset = self.pe[0, frame_index].to(hidden_states.dtype)
        return (hidden_states.unflatten(1, (len(frame_index), -1)) + offset[:, None]).flatten(1, 2)


class AttentionPool(nn.Module):
    """Pools T5 states into one vector: their mean attends to all of them; padding is not masked."""

    def __init__(self, num_tokens: int, dim: int, out_dim: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(num_tokens + 1, dim) / dim**0.5)
        self.k_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.c_proj = nn.Linear(dim, out_dim)

    def forward(self, states: Float[Tensor, "B S D2"]) -> Float[Tensor, "B pooled"]:
        """Pool all positions."""
        tokens = torch.cat([states.mean(dim=1, keepdim=True), states], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        query, key, value = self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens)
        query, key, value = (x.unflatten(-1, (_POOLER_HEADS, -1)).transpose(1, 2) for x in (query, key, value))
        pooled = functional.scaled_dot_product_attention(query, key, value)
        return self.c_proj(pooled.transpose(1, 2).flatten(2).squeeze(1))


class TimeTextSizeEmbedding(nn.Module):
    """The conditioning vector: what depends on the time step, plus what stays the same during a run (`embed_extra`)."""

    def __init__(self, dim: int, *, text_len_t5: int, cross_attention_dim_t5: int, pooled_projection_dim: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(in_channels=NUM_FREQUENCIES, time_embed_dim=dim)
        self.pooler = AttentionPool(text_len_t5, cross_attention_dim_t5, pooled_projection_dim)
        # The original trained with one style; the row is kept because checkpoints have it.
        self.style_embedder = nn.Embedding(1, dim)
        extra_dim = NUM_FREQUENCIES * 6 + dim + pooled_projection_dim
        self.extra_embedder = PixArtAlphaTextProjection(extra_dim, dim * 4, out_features=dim, act_fn="silu_fp32")

    def embed_extra(
        self,
        encoder_hidden_states_t5: Float[Tensor, "B S D2"],
        image_meta_size: Float[Tensor, "B 6"] | Int[Tensor, "B 6"],
        style: Int[Tensor, " B"],
    ) -> Float[Tensor, "B C"]:
        """Embed pooled text, image sizes (original, target, crop; pixels) and style."""
        pooled = self.pooler(encoder_hidden_states_t5)
        sizes = embed_numbers(image_meta_size).flatten(1).to(pooled.dtype)
        return self.extra_embedder(torch.cat([pooled, sizes, self.style_embedder(style).to(pooled.dtype)], dim=1))

    def forward(self, timestep: Tensor, extra: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        """Add the embedding of `timestep` [B] to `extra`, the result of `embed_extra`."""
        return self.timestep_embedder(embed_numbers(timestep).to(extra.dtype)) + extra


class FusedProjectionAttention(nn.Module):
    """Multi-head attention with the parameter names of `nn.MultiheadAttention`.

    Not that class itself: it reads the weights of its output projection past the layer's forward, which offloading and
    layerwise casting hook into.
    """

    has_fused_projections = True
    """The original gives no LoRA weights to the layers in here."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Float[Tensor, "B Q D1"], key: Float[Tensor, "B K D1"], value: Float[Tensor, "B K D1"]
    ) -> Float[Tensor, "B Q D1"]:
        """Attend from `query` to `key` and `value`."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            functional.linear(x, weight.to(x.dtype), bias.to(x.dtype)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    """Turns any square number of CLIP tokens into `num_queries` tokens of the text width by one cross-attention."""

    def __init__(self, num_queries: int, dim: int, *, heads: int, kv_dim: int) -> None:
        super().__init__()
        side = math.isqrt(num_queries)
        self.pos_embed = nn.Parameter(make_grid_table(side, side, dim=dim, base=side), requires_grad=False)
        self.query = nn.Parameter(torch.randn(num_queries, dim) * 0.02)
        self.kv_proj = nn.Linear(kv_dim, dim, bias=False) if kv_dim != dim else nn.Identity()
        self.attn = FusedProjectionAttention(dim, heads)
        self.ln_q = LayerNorm(dim, eps=1e-5)
        self.ln_kv = LayerNorm(dim, eps=1e-5)

    def _position_table(self, num_tokens: int) -> Float[Tensor, "K D1"]:
        """Resize the position table to the grid of the CLIP tokens."""
        old, new = math.isqrt(len(self.pos_embed)), math.isqrt(num_tokens)
        if old == new:
            return self.pos_embed
        grid = self.pos_embed.float().unflatten(0, (old, old)).permute(2, 0, 1)[None]
        grid = functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
        return grid[0].flatten(1).transpose(0, 1)

    def forward(self, tokens: Float[Tensor, "B K clip"]) -> Float[Tensor, "B Q D1"]:
        """Resample `tokens`; K must be a square number."""
        if math.isqrt(tokens.shape[1]) ** 2 != tokens.shape[1]:
            raise ValueError(f"the number of CLIP tokens must be a square (no class token), got {tokens.shape[1]}")
        value = self.ln_kv(self.kv_proj(tokens))
        key = value + self._position_table(tokens.shape[1]).to(value.dtype)
        query = (self.ln_q(self.query.to(value.dtype)) + self.pos_embed.to(value.dtype)).expand(len(tokens), -1, -1)
        return self.attn(query, key, value)
