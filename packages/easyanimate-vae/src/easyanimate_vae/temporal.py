"""How convolutions and upsampling treat the ends of a chunk in time: three modes, chosen per call, held by no module.

Axes: B batch, C channels, T frames (or latent frames) of a chunk, U the same padded or doubled, H height, W width.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class TemporalMode(Protocol):
    """How the input of a convolution is padded in time, and which frames are doubled."""

    zero_frames: int
    """Frames of zeros that the convolution itself adds on each side."""

    def pad(self, conv: nn.Module, x: Float[Tensor, "B C T H W"], *, silu: bool = False) -> Float[Tensor, "B C U H W"]:
        """The input of a convolution over 3 frames: `x`, after SiLU if asked, behind the frames that come before it.

        `x` may be overwritten.
        """
        ...

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double the frames, all or all but the first, as the mode has it."""
        ...


class Symmetric:
    """One zero frame on each side; a frame that comes alone is not doubled (slice VAE of V3, encoder of V4)."""

    zero_frames = 1

    def pad(self, conv: nn.Module, x: Float[Tensor, "B C T H W"], *, silu: bool = False) -> Float[Tensor, "B C U H W"]:
        """Nothing: the convolution pads by itself, so that its input need not be copied."""
        del conv
        return functional.silu(x, inplace=not torch.is_grad_enabled()) if silu else x

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double every frame, unless there is only one."""
        return x if x.shape[2] == 1 else double_frames(x, interpolation)


class Causal:
    """Two copies of the first frame in front; the first frame is not doubled (MagViT VAE of V2)."""

    zero_frames = 0

    def pad(self, conv: nn.Module, x: Float[Tensor, "B C T H W"], *, silu: bool = False) -> Float[Tensor, "B C U H W"]:
        """Put the copies in front."""
        del conv
        return _put_in_front(None, x, silu=silu)

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double all frames but the first."""
        if x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], double_frames(x[:, :, 1:], interpolation)], dim=2)


class Cached:
    """Like `Causal`, but a chunk continues from the last two frames of the chunk before (decoder of V4).

    One object serves one chunk of one clip (or of one tile of it): `following` gives the next chunk's, and dropping it
    frees everything. So a chunk can be computed again (gradient checkpointing) after later chunks have been.
    """

    zero_frames = 0

    def __init__(self, before: dict[nn.Module, Tensor] | None = None) -> None:
        self._before = before or {}
        self._after: dict[nn.Module, Tensor] = {}

    def following(self) -> "Cached":
        """The mode of the next chunk."""
        return Cached(self._after)

    def pad(self, conv: nn.Module, x: Float[Tensor, "B C T H W"], *, silu: bool = False) -> Float[Tensor, "B C U H W"]:
        """Put the remembered frames (first chunk: copies of the first frame) in front and remember the last two."""
        # Without gradients nobody asks again, so what has been used need not stay.
        before = self._before.get(conv) if torch.is_grad_enabled() else self._before.pop(conv, None)
        padded = _put_in_front(before, x, silu=silu)
        # A clone: a view would keep the whole padded input alive until the next chunk.
        self._after[conv] = padded[:, :, -2:].clone()
        return padded

    def double(self, x: Float[Tensor, "B C T H W"], *, interpolation: str) -> Float[Tensor, "B C U H W"]:
        """Double every frame."""
        return double_frames(x, interpolation)


def double_frames(x: Float[Tensor, "B C T H W"], interpolation: str) -> Float[Tensor, "B C U H W"]:
    """Twice as many frames: "nearest" repeats each, "linear" interpolates with half-pixel centres inside the chunk."""
    if interpolation == "nearest":
        return x.repeat_interleave(2, dim=2)
    batch, channels, frames, height, width = x.shape
    doubled = x.new_empty((batch, channels, 2 * frames, height, width))
    # The two new frames of a frame lie a quarter of a frame before and after it; the ends repeat.
    doubled[:, :, 0] = x[:, :, 0]
    doubled[:, :, -1] = x[:, :, -1]
    doubled[:, :, 2::2] = torch.lerp(x[:, :, 1:], x[:, :, :-1], 0.25)
    doubled[:, :, 1:-1:2] = torch.lerp(x[:, :, :-1], x[:, :, 1:], 0.25)
    return doubled


def _put_in_front(before: Tensor | None, x: Tensor, *, silu: bool) -> Tensor:
    """`before` (or two copies of the first frame) and `x`, along time; SiLU acts on `x`, not on given frames."""
    if torch.is_grad_enabled():
        x = functional.silu(x) if silu else x
        return torch.cat([x[:, :, :1].expand(-1, -1, 2, -1, -1) if before is None else before, x], dim=2)
    batch, channels, frames, height, width = x.shape
    padded = x.new_empty((batch, channels, frames + 2, height, width))
    own = padded[:, :, 2:]
    if silu:
        torch.ops.aten.silu.out(x, out=own)  # one pass over memory instead of two
    else:
        own.copy_(x)
    padded[:, :, :2] = own[:, :, :1] if before is None else before
    return padded
