"""Rotary position tables: one rotation per spatial position, the same in every frame.

Axes: P positions of one frame (row by row), N = frames * P tokens, D head width.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from easyanimate_dit.attention import RotaryTable

_SQUARE = 64
"""The official models rotate over a square of 64 latent rows and columns (512 pixels) whatever the real size."""


def _fit_into_square(grid: tuple[int, int], square: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the start and stop (row, column) of `grid` scaled into a square with its aspect kept, centred."""
    rows, columns = grid
    longer = max(grid)
    fitted = round(square / longer * rows), round(square / longer * columns)
    start = round((square - fitted[0]) / 2.0), round((square - fitted[1]) / 2.0)
    return start, (start[0] + fitted[0], start[1] + fitted[1])


def make_rotary_table(
    height: int,
    width: int,
    *,
    head_dim: int,
    patch_size: int = 2,
    device: torch.device | str | None = None,
) -> RotaryTable:
    """Make the rotary table of one latent frame; make it once per run.

    Rows and columns are evenly spaced over the fitted rectangle, stop excluded, so that the spacing is fractional or
    above 1 for sizes other than 512 pixels. The first half of the head turns with the column, the second with the row.

    Args:
        height: latent height (pixels / 8).
        width: latent width (pixels / 8).
        head_dim: width of one attention head, divisible by 4.
        patch_size: latent rows and columns per token.
        device: where the tables are made.

    Returns:
        (cos, sin), each float32 [P, head_dim], every value twice in a row.

    Source: RoFormer (arXiv 2104.09864), equation 34, in two dimensions as HunyuanDiT (arXiv 2405.08748) uses it.
    """
    if head_dim % 4:
        raise ValueError(f"head_dim must be divisible by 4 for a two-dimensional rotation, got {head_dim}")
    rows, columns = height // patch_size, width // patch_size
    start, stop = _fit_into_square((rows, columns), _SQUARE // patch_size)

    def spread(first: int, last: int, count: int) -> Tensor:
        return first + (last - first) * torch.arange(count, dtype=torch.float32, device=device) / count

    half = head_dim // 2
    frequency = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)
    row_angle = torch.outer(spread(start[0], stop[0], rows), frequency)
    column_angle = torch.outer(spread(start[1], stop[1], columns), frequency)
    angle = torch.cat(
        [
            column_angle[None].expand(rows, columns, -1),
            row_angle[:, None].expand(rows, columns, -1),
        ],
        dim=-1,
    ).flatten(0, 1)
    return angle.cos().repeat_interleave(2, dim=-1), angle.sin().repeat_interleave(2, dim=-1)


class TokenPosition(nn.Module):
    """Spreads the table of one frame over all tokens, once per forward pass.

    It is a module of its own, without parameters, so that context parallelism can split what it returns.
    """

    def forward(
        self, rotary_table: RotaryTable, num_frames: int
    ) -> tuple[Float[Tensor, "N half"], Float[Tensor, "N half"], Int[Tensor, " frames"]]:
        """Return (cos, sin) of every token for every second channel, in float32, and the indices of the frames."""
        cos, sin = (table[:, ::2].float().repeat(num_frames, 1) for table in rotary_table)
        return cos, sin, torch.arange(num_frames, device=cos.device)
