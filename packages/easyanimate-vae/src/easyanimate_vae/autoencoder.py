"""`AutoencoderKLMagvit`: the video VAE of V2, V3 and V4, with the original's configuration and keys.

Axes: B batch, C channels, T frames, H height, W width in pixels [-1, 1]; t, h, w the same in latents.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_core.errors import WeightsError
from easyanimate_vae.coder import CoderConfig, Decoder, Encoder, temporal_levels
from easyanimate_vae.temporal import Cached, Causal, Symmetric, TemporalMode


class AutoencoderKLMagvit(ModelMixin, ConfigMixin):
    """Video VAE: 8x smaller in space, 4x in time (V2: 9 frames to 3 latent frames, V3 and V4: 8 to 2).

    The flavour is chosen by the flags: `slice_mag_vae` (V2: independent causal chunks), `slice_compression_vae`
    (V3: symmetric chunks that see their neighbours), `cache_compression_vae` (V4: causal chunks that continue from the
    chunk before), none (the whole clip in one causal pass). Latents for a pipeline are samples times `scaling_factor`.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 - the original's configuration
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        ch: int = 128,
        ch_mult: tuple[int, ...] = (1, 2, 4, 4),
        use_gc_blocks: tuple[bool, ...] | None = None,
        down_block_types: tuple[str, ...] = ("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types: tuple[str, ...] = ("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        mid_block_type: str = "MidBlock3D",
        mid_block_use_attention: bool = True,
        mid_block_attention_type: str = "3d",
        mid_block_num_attention_heads: int = 1,
        layers_per_block: int = 2,
        act_fn: str = "silu",
        num_attention_heads: int = 1,
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        scaling_factor: float = 0.1825,
        slice_mag_vae: bool = True,
        slice_compression_vae: bool = False,
        cache_compression_vae: bool = False,
        spatial_group_norm: bool = False,
        mini_batch_encoder: int = 9,
        mini_batch_decoder: int = 3,
        use_tiling: bool = False,
        use_tiling_encoder: bool = False,
        use_tiling_decoder: bool = False,
        tile_sample_min_size: int = 384,
        tile_overlap_factor: float = 0.25,
        upcast_vae: bool = False,
    ) -> None:
        super().__init__()
        if act_fn != "silu" or mid_block_type != "MidBlock3D" or any(use_gc_blocks or ()):
            raise WeightsError(
                "This VAE configuration is not one of a released checkpoint.",
                received=f"act_fn {act_fn}, mid_block_type {mid_block_type}, use_gc_blocks {use_gc_blocks}",
                expected="silu, MidBlock3D, no global context blocks",
            )
        shared = {
            "widths": tuple(ch * multiple for multiple in ch_mult),
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "mid_attention": mid_block_attention_type if mid_block_use_attention else None,
            "mid_num_heads": mid_block_num_attention_heads,
            "per_frame_norm": spatial_group_norm,
        }
        self.encoder = Encoder(
            CoderConfig(temporal_levels=temporal_levels(tuple(down_block_types), up=False), **shared),
            in_channels=in_channels,
            out_channels=2 * latent_channels,
        )
        self.decoder = Decoder(
            CoderConfig(temporal_levels=temporal_levels(tuple(up_block_types), up=True), **shared),
            in_channels=latent_channels,
            out_channels=out_channels,
        )
        self.quant_conv = nn.Conv3d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv3d(latent_channels, latent_channels, 1)

    def encode(
        self, x: Float[Tensor, "B C T H W"], return_dict: bool = True
    ) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The latent distribution of a clip."""
        posterior = DiagonalGaussianDistribution(self.quant_conv(self._encode_tile(x)))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Float[Tensor, "B C t h w"], return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """The clip of latents (divided by `scaling_factor` before), not clamped."""
        sample = self._decode_tile(self.post_quant_conv(z))
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(
        self, sample: Float[Tensor, "B C T H W"], sample_posterior: bool = False, generator: torch.Generator | None = None
    ) -> DecoderOutput:
        """Encode and decode: from the posterior's mode, or from a sample of it."""
        posterior = self.encode(sample).latent_dist
        return self.decode(posterior.sample(generator) if sample_posterior else posterior.mode())

    def _encode_tile(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D t h w"]:
        """Code a clip chunk by chunk, whole in space."""
        config = self.config
        if config.slice_compression_vae or config.cache_compression_vae:
            mode: TemporalMode = Symmetric()
            # The first of an odd number of frames is coded alone.
            chunks = _chunks(x, config.mini_batch_encoder, first=x.shape[2] % 2)
        else:
            mode = Causal()
            chunks = _chunks(x, config.mini_batch_encoder) if config.slice_mag_vae else (x,)
        return torch.cat([self.encoder(chunk, mode) for chunk in chunks], dim=2)

    def _decode_tile(self, z: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Decode latents chunk by chunk, whole in space."""
        config = self.config
        size = config.mini_batch_decoder
        if config.cache_compression_vae:
            mode: TemporalMode = Symmetric() if z.shape[2] == 1 else Cached()
            chunks = []
            for chunk in _chunks(z, size):
                chunks.append(self.decoder(chunk, mode))
                mode = mode.following() if isinstance(mode, Cached) else mode
        elif config.slice_compression_vae:
            chunks = self._decode_with_neighbours(z)
        else:
            parts = _chunks(z, size) if config.slice_mag_vae else (z,)
            chunks = [self.decoder(chunk, Causal()) for chunk in parts]
        return torch.cat(chunks, dim=2)

    def _decode_with_neighbours(self, z: Float[Tensor, "B C t h w"]) -> list[Tensor]:
        """V3: the input convolution and the mid block see the chunks before and after, the rest the chunk alone."""
        mode = Symmetric()
        alone = z.shape[2] % 2
        parts = z[:, :, alone:].split(self.config.mini_batch_decoder, dim=2)
        decoded = [self.decoder(z[:, :, :1], mode)] if alone else []
        for i, part in enumerate(parts if z.shape[2] > alone else ()):
            start = parts[i - 1].shape[2] if i else 0
            opened = self.decoder.open(torch.cat(parts[max(i - 1, 0) : i + 2], dim=2), mode)
            decoded.append(self.decoder.grow(opened[:, :, start : start + part.shape[2]], mode))
        return decoded


def _chunks(x: Tensor, size: int, *, first: int = 0) -> tuple[Tensor, ...]:
    """Cut along time: `first` frames (0 or 1), then chunks of `size`, the last maybe shorter."""
    if not first:
        return x.split(size, dim=2)
    return (x[:, :, :1], *(x[:, :, 1:].split(size, dim=2) if x.shape[2] > 1 else ()))
