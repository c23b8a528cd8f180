"""Sinusoidal embeddings that both transformers use: of numbers, of frames, of the places of a grid.

Axes: P places of a grid, row by row.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from easyanimate_dit.diffusers_private import get_timestep_embedding

NUM_FREQUENCIES = 256
"""Width of the embedding of a number."""


def embed_numbers(numbers: Float[Tensor, "*axes"] | Int[Tensor, "*axes"]) -> Float[Tensor, "*axes 256"]:
    """Embed each number as 128 cosines followed by 128 sines, in float32 (frequencies 10000^(-k/128))."""
    flat = get_timestep_embedding(numbers.flatten(), NUM_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
    return flat.unflatten(0, numbers.shape)


def make_frame_table(num_frames: int, dim: int) -> Float[Tensor, "num_frames dim"]:
    """Positions of frames, interleaved sine and cosine."""
    frame = torch.arange(num_frames, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    return torch.stack([(frame * frequency).sin(), (frame * frequency).cos()], dim=-1).flatten(1)


def make_grid_table(rows: int, columns: int, *, dim: int, base: int, interpolation: int = 1) -> Float[Tensor, "P dim"]:
    """Positions of a grid, which spans 0 to base / interpolation whatever its size is.

    The first half of the channels is the column, the second half the row; each has its sines first, then its cosines.
    diffusers' `get_2d_sincos_pos_embed` rounds positions to float32 first, which moves those of grids that are not
    square by up to 2e-6.
    Source: PixArt-alpha (arXiv 2310.00426).
    """
    frequency = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))

    def embed(num: int) -> Tensor:
        angle = torch.outer(torch.arange(num, dtype=torch.float64) * base / num / interpolation, frequency)
        return torch.cat([angle.sin(), angle.cos()], dim=1).float()

    return torch.cat([embed(columns).repeat(rows, 1), embed(rows).repeat_interleave(columns, dim=0)], dim=1)
