"""Encoder and decoder of the video VAE, built from a configuration; they work on one chunk at a time.

Axes: B batch, C channels, T frames, H height, W width.
"""

from dataclasses import dataclass

from easyanimate_core.errors import WeightsError
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_vae.block import (
    Attention3D,
    DownBlock3D,
    Downsampler3D,
    GroupNorm,
    MidBlock3D,
    ResidualBlock3D,
    UpBlock3D,
    Upsampler3D,
    convolution,
)
from easyanimate_vae.temporal import TemporalMode

# Block types of the original's configurations, and whether they change the number of frames.
_DOWN_BLOCKS = {"SpatialDownBlock3D": False, "SpatialTemporalDownBlock3D": True}
_UP_BLOCKS = {"SpatialUpBlock3D": False, "SpatialTemporalUpBlock3D": True}


@dataclass(frozen=True, kw_only=True)
class CoderConfig:
    """What encoder and decoder share; `widths` are the channels per level, first to last in the encoder."""

    widths: tuple[int, ...]
    temporal_levels: tuple[bool, ...]
    layers_per_block: int
    norm_num_groups: int
    mid_attention: str | None
    mid_num_heads: int
    per_frame_norm: bool

    def residual(self, in_channels: int, out_channels: int) -> ResidualBlock3D:
        """A residual block with this configuration's norms."""
        return ResidualBlock3D(
            in_channels, out_channels, norm_num_groups=self.norm_num_groups, per_frame=self.per_frame_norm
        )

    def residuals(self, in_channels: int, out_channels: int, num: int) -> list[ResidualBlock3D]:
        """A level's residual blocks; the first changes the width."""
        return [self.residual(in_channels if i == 0 else out_channels, out_channels) for i in range(num)]

    def middle(self, channels: int) -> MidBlock3D:
        """The mid block."""
        num = self.layers_per_block - 1
        attentions = [
            Attention3D(
                channels,
                num_heads=self.mid_num_heads,
                norm_num_groups=self.norm_num_groups,
                across_frames=self.mid_attention == "3d",
            )
            if self.mid_attention
            else None
            for _ in range(num)
        ]
        return MidBlock3D([self.residual(channels, channels) for _ in range(num + 1)], attentions)

    def norm(self, channels: int) -> GroupNorm:
        """The norm before the last convolution."""
        return GroupNorm(self.norm_num_groups, channels, per_frame=self.per_frame_norm)


def temporal_levels(block_types: tuple[str, ...], *, up: bool) -> tuple[bool, ...]:
    """Which levels change the number of frames.

    Raises:
        WeightsError: For a block type that no released checkpoint has.
    """
    known = _UP_BLOCKS if up else _DOWN_BLOCKS
    unknown = [name for name in block_types if name not in known]
    if unknown:
        raise WeightsError(
            "A VAE has a block type that is not known.",
            received=", ".join(unknown),
            expected=", ".join(known),
            fix="check that config.json belongs to the VAE of EasyAnimate V2, V3 or V4",
        )
    return tuple(known[name] for name in block_types)


class Encoder(nn.Module):
    """Pixels [B, 3, T, H, W] to moments [B, 2 * latent channels, t, h, w], before `quant_conv`.

    A chunk goes through `downsample`, then `finish`, which works at latent size: it sees the whole picture even where
    `downsample` is called tile by tile.
    """

    def __init__(self, config: CoderConfig, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = convolution(in_channels, widths[0])
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            stride = 2 if config.temporal_levels[level] else 1
            last = level == len(widths) - 1
            self.down_blocks.append(
                DownBlock3D(
                    config.residuals(widths[max(level - 1, 0)], width, config.layers_per_block),
                    None if last else Downsampler3D(width, temporal_stride=stride),
                )
            )
        self.mid_block = config.middle(widths[-1])
        self.conv_norm_out = config.norm(widths[-1])
        self.conv_out = convolution(widths[-1], out_channels)

    def downsample(self, x: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B D t h w"]:
        """Input convolution and all levels but the last: down to latent size."""
        x = self.conv_in(mode.pad(self.conv_in, x), mode)
        for block in self.down_blocks[:-1]:
            x = block(x, mode)
        return x

    def finish(self, x: Float[Tensor, "B C t h w"], mode: TemporalMode) -> Float[Tensor, "B D t h w"]:
        """Last level, mid block and output convolution."""
        x = self.down_blocks[-1](x, mode)
        x = self.mid_block(x, mode)
        x = self.conv_norm_out(x)
        x = mode.pad(self.conv_out, x, silu=True)
        return self.conv_out(x, mode)


class Decoder(nn.Module):
    """Latents [B, C, t, h, w], after `post_quant_conv`, to pixels [B, 3, T, H, W].

    A chunk goes through `start`, `refine` and `upsample`. V3 gives `start` the neighbouring chunks too. `start` and
    `refine` work at latent size: they see the whole picture even where `upsample` is called tile by tile.
    """

    def __init__(self, config: CoderConfig, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = config.widths[::-1]
        interpolation = "nearest" if config.per_frame_norm else "linear"
        self.conv_in = convolution(in_channels, widths[0])
        self.mid_block = config.middle(widths[0])
        self.up_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            last = level == len(widths) - 1
            temporal = config.temporal_levels[level]
            self.up_blocks.append(
                UpBlock3D(
                    config.residuals(widths[max(level - 1, 0)], width, config.layers_per_block + 1),
                    None if last else Upsampler3D(width, temporal=temporal, interpolation=interpolation),
                )
            )
        self.conv_norm_out = config.norm(widths[-1])
        self.conv_out = convolution(widths[-1], out_channels)

    def start(self, z: Float[Tensor, "B C t h w"], mode: TemporalMode) -> Float[Tensor, "B D t h w"]:
        """Input convolution and mid block."""
        return self.mid_block(self.conv_in(mode.pad(self.conv_in, z), mode), mode)

    def refine(self, x: Float[Tensor, "B D t h w"], mode: TemporalMode) -> Float[Tensor, "B D t h w"]:
        """Residual blocks of the first level."""
        return self.up_blocks[0](x, mode, upsample=False)

    def upsample(self, x: Float[Tensor, "B D t h w"], mode: TemporalMode) -> Float[Tensor, "B 3 T H W"]:
        """First upsampler, the other levels and the output convolution."""
        x = self.up_blocks[0](x, mode, refine=False)
        for block in self.up_blocks[1:]:
            x = block(x, mode)
        x = self.conv_norm_out(x)
        x = mode.pad(self.conv_out, x, silu=True)
        return self.conv_out(x, mode)
