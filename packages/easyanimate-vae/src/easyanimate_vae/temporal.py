"""How convolutions and upsampling treat the ends of a chunk in time: four modes, chosen per call, held by no module.

Axes: B batch, C channels, T frames (or latent frames), H height, W width.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class TemporalMode(Protocol):
    """Pads a convolution's input in time and doubles the frame rate, each in its own way."""

    def convolve(self, conv: nn.Conv3d, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Apply a convolution whose temporal kernel is 3 and whose spatial padding is its own."""
        ...

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double the frames, as far as the mode does."""
        ...


class Symmetric:
    """One zero frame on each side; a frame that comes alone is not doubled (slice VAE of V3, encoder of V4)."""

    def convolve(self, conv: nn.Conv3d, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Let the convolution pad by itself: no copy of its input."""
        _, high, wide = conv.padding
        return F.conv3d(x, conv.weight, conv.bias, conv.stride, (1, high, wide))

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double every frame, unless there is only one."""
        return x if x.shape[2] == 1 else double_frames(x, interpolation)


class Causal:
    """Two copies of the first frame in front; the first frame is not doubled (MagViT VAE of V2)."""

    def convolve(self, conv: nn.Conv3d, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Put the copies in front and convolve."""
        first = x[:, :, :1]
        return _convolve_padded(conv, torch.cat([first, first, x], dim=2))

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double all frames but the first."""
        if x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], double_frames(x[:, :, 1:], interpolation)], dim=2)


class Cached:
    """Like `Causal`, but later chunks continue from the last two frames of the chunk before (decoder of V4).

    One object serves one clip (or one tile of it), chunk after chunk, and is dropped with it: the remembered frames live
    here, in small tensors of their own, so nothing outlives the call and no convolution's whole input stays in memory.
    """

    def __init__(self) -> None:
        self._remembered: dict[nn.Conv3d, Tensor] = {}

    def convolve(self, conv: nn.Conv3d, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Put the remembered frames (at first: copies of the first frame) in front, remember the last two, convolve."""
        before = self._remembered.get(conv)
        if before is None:
            before = x[:, :, :1].expand(-1, -1, 2, -1, -1)
        padded = torch.cat([before, x], dim=2)
        # A clone: a view would keep the whole padded input alive until the next chunk.
        self._remembered[conv] = padded[:, :, -2:].clone()
        return _convolve_padded(conv, padded)

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double every frame."""
        return double_frames(x, interpolation)


def double_frames(x: Float[Tensor, "B C T H W"], interpolation: str) -> Float[Tensor, "B C U H W"]:
    """Twice as many frames: "nearest" repeats each, "linear" interpolates with half-pixel centres inside the chunk."""
    if interpolation == "nearest":
        return x.repeat_interleave(2, dim=2)
    # The two new frames of a frame lie a quarter of a frame before and after it; the ends repeat.
    before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
    after = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)
    pairs = torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], dim=3)
    return pairs.flatten(2, 3)


def _convolve_padded(conv: nn.Conv3d, padded: Tensor) -> Tensor:
    _, high, wide = conv.padding
    return F.conv3d(padded, conv.weight, conv.bias, conv.stride, (0, high, wide))
