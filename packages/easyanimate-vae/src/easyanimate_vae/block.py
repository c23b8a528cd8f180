"""The parts of the video VAE: residual, attention, down and up blocks, with the original's key names.

Axes: B batch, C channels, T frames of a chunk, H height, W width, S positions, N heads. Every forward takes the
chunk's `TemporalMode`.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from easyanimate_vae.temporal import TemporalMode


class Convolution(nn.Conv3d):
    """Convolution over a chunk that its `TemporalMode` has padded in time."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, padded: Float[Tensor, "B C U H W"], mode: TemporalMode
    ) -> Float[Tensor, "B D V X Y"]:
        """Convolve, with the mode's frames of zeros on each side."""
        _, high, wide = self.padding
        return functional.conv3d(padded, self.weight, self.bias, self.stride, (mode.zero_frames, int(high), int(wide)))


def convolution(in_channels: int, out_channels: int) -> Convolution:
    """3x3x3 convolution that pads one zero pixel in space; a `TemporalMode` pads it in time."""
    return Convolution(in_channels, out_channels, 3, padding=(0, 1, 1))


class GroupNorm(nn.GroupNorm):
    """Group norm over (T, H, W), or over (H, W) of each frame when `per_frame`."""

    def __init__(self, num_groups: int, num_channels: int, *, per_frame: bool = False) -> None:
        super().__init__(num_groups, num_channels, eps=1e-6)
        self.per_frame = per_frame

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Tensor, "B C T H W"]
    ) -> Float[Tensor, "B C T H W"]:
        """Normalise each group of channels."""
        if not self.per_frame or x.shape[2] == 1:
            return super().forward(x)
        batch, channels, frames, height, width = x.shape
        x = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        return super().forward(x).view(batch, frames, channels, height, width).transpose(1, 2)


class ResidualBlock3D(nn.Module):
    """Norm, SiLU, convolution, twice, added to the input (1x1x1 convolved where the widths differ)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm_num_groups: int, per_frame: bool) -> None:
        super().__init__()
        self.norm1 = GroupNorm(norm_num_groups, in_channels, per_frame=per_frame)
        self.conv1 = convolution(in_channels, out_channels)
        self.norm2 = GroupNorm(norm_num_groups, out_channels, per_frame=per_frame)
        self.conv2 = convolution(out_channels, out_channels)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B D T H W"]:
        """Same frames and size, `out_channels` wide."""
        # One name for all steps: each tensor is freed as soon as the next exists.
        hidden = self.norm1(x)
        hidden = mode.pad(self.conv1, hidden, silu=True)
        hidden = self.conv1(hidden, mode)
        hidden = self.norm2(hidden)
        hidden = mode.pad(self.conv2, hidden, silu=True)
        hidden = self.conv2(hidden, mode)
        return hidden.add_(self.shortcut(x))


class Attention3D(nn.Module):
    """Self-attention over all positions of the chunk ("3d") or of each frame ("spatial"), added to the input."""

    def __init__(self, channels: int, *, num_heads: int, norm_num_groups: int, across_frames: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.across_frames = across_frames
        self.group_norm = GroupNorm(norm_num_groups, channels, per_frame=not across_frames)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Same shape."""
        batch, channels, frames, height, width = x.shape
        rows = batch if self.across_frames else batch * frames
        tokens = self.group_norm(x).permute(0, 2, 3, 4, 1).reshape(rows, -1, channels)
        q, k, v = (self._split_heads(linear(tokens)) for linear in (self.to_q, self.to_k, self.to_v))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, -1, channels)
        mixed = self.to_out(mixed).view(batch, frames, height, width, channels)
        return x + mixed.permute(0, 4, 1, 2, 3)

    def _split_heads(self, tokens: Float[Tensor, "B S C"]) -> Float[Tensor, "B N S D"]:
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Downsampler3D(nn.Module):
    """Strided convolution: half the size, and half the frames where `temporal_stride` is 2."""

    def __init__(self, channels: int, *, temporal_stride: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, stride=(temporal_stride, 2, 2))

    def forward(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B C U V X"]:
        """Zero pad one column right and one row below, then convolve."""
        return self.conv(functional.pad(mode.pad(self.conv, x), (0, 1, 0, 1)), mode)


class Upsampler3D(nn.Module):
    """Twice the size by nearest neighbours, a convolution, and twice the frames where `temporal`."""

    def __init__(self, channels: int, *, temporal: bool, interpolation: str) -> None:
        super().__init__()
        self.conv = convolution(channels, channels)
        self.temporal = temporal
        self.interpolation = interpolation

    def forward(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B C U V X"]:
        """Space first, time last, so that the convolution sees few frames; padded while still small."""
        x = mode.pad(self.conv, x)
        x = functional.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
        x = self.conv(x, mode)
        return mode.double(x, interpolation=self.interpolation) if self.temporal else x


class Level(nn.Module):
    """A sequence of blocks, each computed again in the backward pass when `gradient_checkpointing` is on."""

    gradient_checkpointing = False  # set by diffusers' enable_gradient_checkpointing, with the function below
    _gradient_checkpointing_func: Callable[..., Tensor]

    def run(self, block: nn.Module, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B D T H W"]:
        """Call one block."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, x, mode)
        return block(x, mode)


class DownBlock3D(Level):
    """Residual blocks, then a downsampler, except on the last level."""

    def __init__(self, convs: Sequence[ResidualBlock3D], downsampler: Downsampler3D | None) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.downsampler = downsampler

    def forward(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B D U V X"]:
        """One level down."""
        for conv in self.convs:
            x = self.run(conv, x, mode)
        return x if self.downsampler is None else self.downsampler(x, mode)


class UpBlock3D(Level):
    """Residual blocks, then an upsampler, except on the last level."""

    def __init__(self, convs: Sequence[ResidualBlock3D], upsampler: Upsampler3D | None) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.upsampler = upsampler

    def forward(
        self, x: Float[Tensor, "B C T H W"], mode: TemporalMode, *, refine: bool = True, upsample: bool = True
    ) -> Float[Tensor, "B D U V X"]:
        """One level up: the residual blocks (`refine`), then the upsampler (`upsample`)."""
        for conv in self.convs if refine else ():
            x = self.run(conv, x, mode)
        return self.upsampler(x, mode) if upsample and self.upsampler is not None else x


class MidBlock3D(Level):
    """A residual block, then attention and a residual block, as often as there are attentions."""

    def __init__(self, convs: Sequence[ResidualBlock3D], attentions: Sequence[Attention3D | None]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.attentions = nn.ModuleList(attentions)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B C T H W"]:
        """Same shape."""
        x = self.run(self.convs[0], x, mode)
        for attention, conv in zip(self.attentions, self.convs[1:], strict=True):
            x = self.run(conv, x if attention is None else attention(x), mode)
        return x
