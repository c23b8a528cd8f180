"""Encodes or decodes a large picture tile by tile in space: with the original's tiles, exactly, or with balanced ones.

Axes: the last two are height and width; those before are kept. A tile is cut from "in" positions and coded (encoded or
decoded) to "out" positions; one of them are pixels, the other latents.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

import torch
from torch import Tensor

CodeTile = Callable[[slice, slice], Tensor]
"""Encodes or decodes the tile at these rows and columns (in positions)."""


@dataclass(frozen=True, kw_only=True)
class OverlappingTiles:
    """The original's tiles: full-size ones at a fixed stride, and whatever is left at the right and lower edge.

    Args:
        size: Side of a tile, in positions.
        out_size: The same in out positions.
        scale: Out positions per in position.
        overlap: Share of a tile that neighbours have in common.
        repeat_corner: Whether the lower right tile is coded once more and mixed in (the original's decoder).
    """

    size: int
    out_size: int
    scale: Fraction
    overlap: float
    repeat_corner: bool = False

    def spans(self, length: int) -> list[slice]:
        """The tiles along an axis; the last ones may lie wholly inside those before."""
        stride = int(self.size * (1 - self.overlap))
        return [slice(start, min(start + self.size, length)) for start in range(0, length, stride)]

    def code(self, height: int, width: int, code_tile: CodeTile) -> Tensor:
        """Code a picture of `height` x `width` in positions.

        Every tile is mixed with the blended tile above, then with the blended tile to the left, with weights k / extent
        for k = 0 .. extent - 1, and contributes what precedes its successor's overlap.
        """
        extent = int(self.out_size * self.overlap)
        rows, columns = self.spans(height), self.spans(width)
        heights, widths = self._contributions(rows, extent), self._contributions(columns, extent)
        out: Tensor | None = None
        above: list[Tensor] = []  # lower strips of the tiles of the row before
        for row, down in zip(rows, _positions(heights), strict=True):
            strips: list[Tensor] = []
            beside: Tensor | None = None  # right strip of the tile before
            for i, (column, right) in enumerate(zip(columns, _positions(widths), strict=True)):
                tile = code_tile(row, column)
                tile = _blend(above[i], tile, extent, dim=-2) if above else tile
                tile = tile if beside is None else _blend(beside, tile, extent, dim=-1)
                if out is None:
                    out = tile.new_empty((*tile.shape[:-2], sum(heights), sum(widths)))
                out[..., down, right] = tile[..., : down.stop - down.start, : right.stop - right.start]
                strips.append(tile[..., max(tile.shape[-2] - extent, 0) :, :].clone())
                beside = tile[..., max(tile.shape[-1] - extent, 0) :].clone()
            above = strips
        assert out is not None  # noqa: S101 - every picture has a tile
        if self.repeat_corner:
            corner = (slice(max(height - self.size, 0), height), slice(max(width - self.size, 0), width))
            _mix_corner(out, code_tile(*corner))
        return out

    def _contributions(self, spans: list[slice], extent: int) -> list[int]:
        return [min(int((span.stop - span.start) * self.scale), self.out_size - extent) for span in spans]


@dataclass(frozen=True, kw_only=True)
class BalancedTiles:
    """As few tiles as the size allows, all equally large, none coded twice.

    Args:
        size: Longest side of a tile, in latents.
        overlap: Latents that neighbours share at least; at most a third of `size`.
    """

    size: int
    overlap: int

    def spans(self, length: int) -> list[slice]:
        """The tiles along an axis of `length` latents."""
        if length <= self.size:
            return [slice(0, length)]
        num = -(-(length - self.overlap) // (self.size - self.overlap))
        size = -(-(length + (num - 1) * self.overlap) // num)
        starts = [i * (length - size) // (num - 1) for i in range(num)]
        return [slice(start, start + size) for start in starts]

    def code(self, height: int, width: int, code_tile: CodeTile, *, unit: int) -> Tensor:
        """Code a picture of `height` x `width` latents; `unit` out positions belong to one.

        Where tiles overlap, their weights rise and fall linearly and sum to one.
        """
        rows, columns = self.spans(height), self.spans(width)
        out: Tensor | None = None
        for (row, down), (column, right) in product(
            zip(rows, _ramps(rows, unit), strict=True), zip(columns, _ramps(columns, unit), strict=True)
        ):
            tile = code_tile(row, column)
            if out is None:
                out = tile.new_zeros((*tile.shape[:-2], height * unit, width * unit))
            weight = (down[:, None] * right).to(tile)
            out[..., scale_span(row, unit), scale_span(column, unit)].addcmul_(tile, weight)
        assert out is not None  # noqa: S101 - every picture has a tile
        return out


def _ramps(spans: list[slice], unit: int) -> list[Tensor]:
    """Weights of each tile's out positions along an axis: a ramp where it overlaps a neighbour, else one."""
    weights = [torch.ones((span.stop - span.start) * unit) for span in spans]
    for i, (one, other) in enumerate(pairwise(spans)):
        extent = (one.stop - other.start) * unit
        ramp = (torch.arange(extent) + 0.5) / extent
        weights[i][-extent:] = 1 - ramp
        weights[i + 1][:extent] = ramp
    return weights


def scale_span(span: slice, unit: int) -> slice:
    """The out positions of a span of latents, or the pixels."""
    return slice(span.start * unit, span.stop * unit)


def _positions(sizes: list[int]) -> list[slice]:
    """Neighbouring spans of these sizes."""
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [slice(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]


def _blend(before: Tensor, tile: Tensor, extent: int, *, dim: int) -> Tensor:
    """Mix the end of `before` into the beginning of `tile` along `dim`."""
    extent = min(before.shape[dim], tile.shape[dim], extent)
    if not extent:
        return tile
    weight = (torch.arange(extent) / extent).to(tile)
    weight = weight if dim == -1 else weight[:, None]
    start = torch.lerp(before.narrow(dim, before.shape[dim] - extent, extent), tile.narrow(dim, 0, extent), weight)
    return torch.cat([start, tile.narrow(dim, extent, tile.shape[dim] - extent)], dim=dim)


def _mix_corner(out: Tensor, corner: Tensor) -> None:
    """Mix a tile into the lower right corner, with weight 0 at its upper and left edge, growing to 1."""
    height, width = corner.shape[-2:]
    down, right = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    weight = torch.minimum(down[:, None], right).to(corner)
    target = out[..., -height:, -width:]
    target.copy_(torch.lerp(target, corner, weight))
