"""Embeddings of the PixArt transformer: patches with positions, time and size.

Axes: B batch, L latent channels, F latent frames, H and W latent rows and columns, P tokens of a frame, C inner width.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from easyanimate_dit.diffusers_private import TimestepEmbedding
from easyanimate_dit.embedding import NUM_FREQUENCIES, embed_numbers, make_grid_table


class GridPatchEmbed(nn.Module):
    """Cuts each frame into patches, projects them and adds their positions.

    Args:
        in_channels: Latent channels L.
        dim: Inner width C, divisible by 4.
        patch_size: Latent rows and columns of a patch.
        sample_size: Latent side of the training resolution, which positions are relative to.
    """

    def __init__(self, in_channels: int, dim: int, *, patch_size: int, sample_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self._base = sample_size // patch_size
        self._interpolation = max(sample_size // 64, 1)
        # The table of the last size: it stays the same over the steps of a run.
        self._table = torch.empty(0)
        self._table_grid: tuple[int, int] | None = None

    def forward(self, latent: Float[Tensor, "B L F H W"]) -> Float[Tensor, "B F P C"]:
        """The tokens of each frame in the order row, column."""
        patches = self.proj(latent.transpose(1, 2).flatten(0, 1))
        table = self._position_table((patches.shape[2], patches.shape[3]), patches)
        tokens = patches.flatten(2).transpose(1, 2) + table
        return tokens.unflatten(0, (latent.shape[0], latent.shape[2]))

    def _position_table(self, grid: tuple[int, int], like: Tensor) -> Float[Tensor, "P C"]:
        if self._table_grid != grid or self._table.device != like.device or self._table.dtype != like.dtype:
            table = make_grid_table(*grid, dim=like.shape[1], base=self._base, interpolation=self._interpolation)
            self._table, self._table_grid = table.to(like.device, like.dtype), grid
        return self._table


class TimeSizeEmbedding(nn.Module):
    """Embeds the timestep, and resolution and aspect ratio where the checkpoint was told them."""

    def __init__(self, dim: int, *, has_size_condition: bool) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(NUM_FREQUENCIES, dim)
        if has_size_condition:
            self.resolution_embedder = TimestepEmbedding(NUM_FREQUENCIES, dim // 3)
            self.aspect_ratio_embedder = TimestepEmbedding(NUM_FREQUENCIES, dim // 3)
            for embedder in (self.resolution_embedder, self.aspect_ratio_embedder):
                nn.init.zeros_(embedder.linear_2.weight)
                nn.init.zeros_(embedder.linear_2.bias)

    def embed_size(
        self, resolution: Float[Tensor, "B 2"], aspect_ratio: Float[Tensor, "B 1"], dtype: torch.dtype
    ) -> Float[Tensor, "B C"]:
        """Embed height and width in pixels and height / width; constant over the steps of a run."""
        sides = self.resolution_embedder(embed_numbers(resolution.float()).to(dtype)).flatten(1)
        ratio = self.aspect_ratio_embedder(embed_numbers(aspect_ratio.float()).to(dtype)).flatten(1)
        return torch.cat([sides, ratio], dim=1)

    def forward(
        self, timestep: Float[Tensor, " B"] | Int[Tensor, " B"], size: Float[Tensor, "B C"] | None, dtype: torch.dtype
    ) -> Float[Tensor, "B C"]:
        """Embed the timesteps, and add the result of `embed_size`."""
        embedded = self.timestep_embedder(embed_numbers(timestep).to(dtype))
        return embedded if size is None else embedded + size


class AdaLayerNormSingle(nn.Module):
    """Shifts, scales and gates of all blocks from one embedding (PixArt-alpha, arXiv 2310.00426, section 2.3)."""

    def __init__(self, dim: int, *, has_size_condition: bool) -> None:
        super().__init__()
        self.emb = TimeSizeEmbedding(dim, has_size_condition=has_size_condition)
        self.linear = nn.Linear(dim, 6 * dim)

    def forward(
        self, timestep: Float[Tensor, " B"] | Int[Tensor, " B"], size: Float[Tensor, "B C"] | None, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "B 6 C"], Float[Tensor, "B C"]]:
        """Shift, scale and gate of the attention, the same of the feed-forward; and the embedding itself."""
        embedded = self.emb(timestep, size, dtype)
        return self.linear(functional.silu(embedded)).unflatten(1, (6, -1)), embedded
