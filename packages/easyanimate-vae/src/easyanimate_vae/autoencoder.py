"""`AutoencoderKLMagvit`: the video VAE of V2, V3 and V4, with the original's configuration and keys.

Axes: B batch, C channels, T frames, H height, W width in pixels [-1, 1]; t, h, w the same in latents.
"""

# ruff: noqa: PLR0913, PLR0917, ARG002 (the original's configuration, kept by `register_to_config`)

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from easyanimate_core.errors import RequestError, WeightsError
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_vae.coder import CoderConfig, Decoder, Encoder, temporal_levels
from easyanimate_vae.smoothing import smooth_chunks
from easyanimate_vae.temporal import Cached, Causal, Symmetric, TemporalMode
from easyanimate_vae.tiling import BalancedTiles, OverlappingTiles, scale_span

_OVERLAP = 4
"""Balanced tiles share at least this part of a tile with their neighbours."""
_MIN_TILE = 4
"""Smallest tile in latents; below it the overlap would be more than a third."""


class AutoencoderKLMagvit(ModelMixin, ConfigMixin):
    """Video VAE: 8x smaller in space, 4x in time (V2: 9 frames to 3 latent frames, V3 and V4: 8 to 2).

    The variant is chosen by flags: `slice_mag_vae` (V2: independent causal chunks), `slice_compression_vae`
    (V3: symmetric chunks that see their neighbours), `cache_compression_vae` (V4: causal chunks that continue from the
    chunk before), none (the whole clip in one causal pass). Latents for a pipeline are samples times `scaling_factor`.

    A configuration that switches tiling on gets the original's tiles; `enable_tiling` gives balanced ones, which cost
    less and are nearer to the untiled result.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["ResidualBlock3D", "Attention3D"]
    _skip_layerwise_casting_patterns = ("norm",)
    # Every part that is called by itself, so that each is brought to the device by itself.
    _group_offload_block_modules = (
        *("encoder", "decoder", "quant_conv", "post_quant_conv"),
        *("conv_in", "mid_block", "conv_norm_out", "conv_out"),
    )

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        use_gc_blocks: Sequence[bool] | None = None,
        down_block_types: Sequence[str] = ("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types: Sequence[str] = ("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
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
        self._set_original_tiling()

    @property
    def settings(self) -> Any:
        """`config`, whose fields diffusers does not type."""
        return self.config

    @overload
    def encode(self, x: Tensor, return_dict: Literal[True] = True) -> AutoencoderKLOutput: ...

    @overload
    def encode(self, x: Tensor, return_dict: Literal[False]) -> tuple[DiagonalGaussianDistribution]: ...

    @apply_forward_hook
    def encode(
        self, x: Float[Tensor, "B C T H W"], return_dict: bool = True
    ) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The latent distribution of a clip.

        Raises:
            RequestError: Unless height and width are multiples of 8 and there are frames.
        """
        x = self._prepare(x, channels=self.settings.in_channels, multiple=self._stride, kind="pixels")
        posterior = DiagonalGaussianDistribution(self.quant_conv(self._encode_picture(x)))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @overload
    def decode(self, z: Tensor, return_dict: Literal[True] = True) -> DecoderOutput: ...

    @overload
    def decode(self, z: Tensor, return_dict: Literal[False]) -> tuple[Tensor]: ...

    @apply_forward_hook
    def decode(self, z: Float[Tensor, "B C t h w"], return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """The clip of latents (divided by `scaling_factor` before), not clamped."""
        sample = torch.cat(list(self._decode_picture(z)), dim=2)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    @apply_forward_hook
    def decode_chunks(self, z: Float[Tensor, "B C t h w"]) -> Iterator[Float[Tensor, "B 3 T H W"]]:
        """The clip of `decode` piece by piece along time; a piece that is let go is freed before the next is made.

        With tiles the clip is made at once, as the memory of all tiles would be larger than the clip.
        """
        return self._decode_picture(z)

    def decode_smoothly(
        self, z: Float[Tensor, "B C t h w"], draw: Callable[[DiagonalGaussianDistribution], Tensor]
    ) -> Float[Tensor, "B 3 T H W"]:
        """The clip in [-1, 1]; the borders of its chunks are smoothed (V2, V3) unless they continue one another (V4).

        Args:
            z: Latents, divided by `scaling_factor`.
            draw: Chooses the latents of the smoothing pass from their posterior.
        """
        clip = self.decode(z).sample
        if self.settings.cache_compression_vae:
            return clip.clamp(-1, 1)
        return smooth_chunks(
            clip,
            self.settings.mini_batch_encoder,
            lambda frames: self.decode(draw(self.encode(frames).latent_dist)).sample,
        )

    def forward(
        self,
        sample: Float[Tensor, "B C T H W"],
        sample_posterior: bool = False,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput:
        """Encode and decode: from the posterior's mode, or from a sample of it."""
        posterior = self.encode(sample).latent_dist
        return self.decode(posterior.sample(generator) if sample_posterior else posterior.mode())

    @property
    def use_tiling(self) -> bool:
        """Whether large pictures are tiled, in either direction; diffusers' offloading asks."""
        return self._encoder_tiles is not None or self._decoder_tiles is not None

    def enable_tiling(self, tile_sample_min_size: int | None = None) -> None:
        """Encode and decode pictures larger than a tile in balanced tiles.

        Args:
            tile_sample_min_size: Longest side of a tile in pixels; None takes the configuration's.

        Raises:
            RequestError: A tile has fewer than 4 latents along a side.
        """
        pixels = tile_sample_min_size or self.settings.tile_sample_min_size
        size = pixels // self._stride
        if size < _MIN_TILE:
            raise RequestError(
                "the tiles are too small",
                received=f"tile_sample_min_size {pixels}",
                expected=f"at least {_MIN_TILE * self._stride} pixels",
            )
        self._encoder_tiles = self._decoder_tiles = BalancedTiles(size=size, overlap=max(size // _OVERLAP, 1))

    def disable_tiling(self) -> None:
        """Encode and decode pictures whole, whatever the configuration says."""
        self._encoder_tiles = self._decoder_tiles = None

    def _set_original_tiling(self) -> None:
        config = self.settings
        self._stride = 2 ** (len(config.ch_mult) - 1)
        size, overlap = config.tile_sample_min_size, config.tile_overlap_factor
        latent_size = size // self._stride
        self._encoder_tiles: OverlappingTiles | BalancedTiles | None = None
        self._decoder_tiles: OverlappingTiles | BalancedTiles | None = None
        if config.use_tiling or config.use_tiling_encoder:
            self._encoder_tiles = OverlappingTiles(
                size=size, out_size=latent_size, scale=Fraction(1, self._stride), overlap=overlap
            )
        if config.use_tiling or config.use_tiling_decoder:
            self._decoder_tiles = OverlappingTiles(
                size=latent_size, out_size=size, scale=Fraction(self._stride), overlap=overlap, repeat_corner=True
            )

    def _prepare(self, x: Tensor, *, channels: int, multiple: int, kind: str) -> Tensor:
        """Check an input, and convert it and the model to float32 where the configuration asks for it."""
        if x.ndim != 5 or x.shape[1] != channels or 0 in x.shape or x.shape[3] % multiple or x.shape[4] % multiple:  # noqa: PLR2004
            size = f", height and width multiples of {multiple}" if multiple > 1 else ""
            raise RequestError(
                f"the {kind} do not fit the VAE",
                received=f"shape {tuple(x.shape)}",
                expected=f"[batch, {channels}, frames, height, width], none of them 0{size}",
            )
        if not self.settings.upcast_vae:
            return x
        if self.dtype != torch.float32:
            self.float()  # stays so: converting for every call would take the memory twice
        return x.float()

    def _encode_picture(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D t h w"]:
        height, width = x.shape[-2:]
        tiles = self._encoder_tiles
        if isinstance(tiles, OverlappingTiles) and max(height, width) > tiles.size:
            return tiles.code(height, width, lambda rows, columns: self._encode_chunks(x[..., rows, columns]))
        return self._encode_chunks(x)

    def _encode_chunks(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D t h w"]:
        """Encode a clip chunk by chunk; balanced tiles end at latent size, where the whole picture is seen."""
        config = self.settings
        if config.slice_compression_vae or config.cache_compression_vae:
            mode: TemporalMode = Symmetric()
            # The first of an odd number of frames is encoded alone.
            chunks = _chunks(x, config.mini_batch_encoder, first=x.shape[2] % 2)
        else:
            mode = Causal()
            chunks = _chunks(x, config.mini_batch_encoder) if config.slice_mag_vae else (x,)
        return torch.cat([self.encoder.finish(self._downsample(chunk, mode), mode) for chunk in chunks], dim=2)

    def _downsample(self, chunk: Float[Tensor, "B C T H W"], mode: TemporalMode) -> Float[Tensor, "B D t h w"]:
        tiles, stride = self._encoder_tiles, self._stride
        if not isinstance(tiles, BalancedTiles):
            return self.encoder.downsample(chunk, mode)
        return tiles.code(
            chunk.shape[3] // stride,
            chunk.shape[4] // stride,
            lambda rows, columns: self.encoder.downsample(
                chunk[..., scale_span(rows, stride), scale_span(columns, stride)], mode
            ),
            unit=1,
        )

    def _decode_picture(self, z: Float[Tensor, "B C t h w"]) -> Iterator[Float[Tensor, "B 3 T H W"]]:
        """The clip in pieces along time: its chunks when untiled, the whole clip when tiled."""
        z = self.post_quant_conv(self._prepare(z, channels=self.settings.latent_channels, multiple=1, kind="latents"))
        height, width = z.shape[-2:]
        tiles = self._decoder_tiles
        if tiles is None or max(height, width) <= tiles.size:
            yield from self._upsample(self._start(z), z.shape[2])
        elif isinstance(tiles, OverlappingTiles):
            yield tiles.code(
                height,
                width,
                lambda rows, columns: torch.cat(
                    list(self._upsample(self._start(z[..., rows, columns]), z.shape[2])), dim=2
                ),
            )
        else:
            # At latent size the whole picture is seen; only what follows, where the memory goes, is tiled.
            started = list(self._start(z))
            yield tiles.code(
                height,
                width,
                lambda rows, columns: torch.cat(
                    list(self._upsample((part[..., rows, columns] for part in started), z.shape[2])), dim=2
                ),
                unit=self._stride,
            )

    def _start(self, z: Float[Tensor, "B C t h w"]) -> Iterator[Float[Tensor, "B D t h w"]]:
        """What the decoder does at latent size, chunk by chunk."""
        config = self.settings
        if config.slice_compression_vae and not config.cache_compression_vae:
            yield from self._start_with_neighbours(z)
            return
        mode = self._first_mode(z.shape[2])
        sliced = config.cache_compression_vae or config.slice_mag_vae
        for chunk in _chunks(z, config.mini_batch_decoder) if sliced else (z,):
            yield self.decoder.refine(self.decoder.start(chunk, mode), mode)
            mode = _following(mode)

    def _start_with_neighbours(self, z: Float[Tensor, "B C t h w"]) -> Iterator[Float[Tensor, "B D t h w"]]:
        """V3: the input convolution and the mid block see the chunks before and after, the rest the chunk alone."""
        mode = Symmetric()
        alone = z.shape[2] % 2
        if alone:
            yield self.decoder.refine(self.decoder.start(z[:, :, :1], mode), mode)
        parts = z[:, :, alone:].split(self.settings.mini_batch_decoder, dim=2) if z.shape[2] > alone else ()
        for i, part in enumerate(parts):
            first = parts[i - 1].shape[2] if i else 0
            started = self.decoder.start(torch.cat(parts[max(i - 1, 0) : i + 2], dim=2), mode)
            yield self.decoder.refine(started[:, :, first : first + part.shape[2]], mode)

    def _upsample(
        self, started: Iterable[Float[Tensor, "B D t h w"]], num_latents: int
    ) -> Iterator[Float[Tensor, "B 3 T H W"]]:
        """The rest of the decoder, chunk by chunk, of a clip of `num_latents` latent frames."""
        mode = self._first_mode(num_latents)
        for part in started:
            yield self.decoder.upsample(part, mode)
            mode = _following(mode)

    def _first_mode(self, num_latents: int) -> TemporalMode:
        """How the decoder treats the first chunk in time."""
        config = self.settings
        if config.cache_compression_vae and num_latents > 1:
            return Cached()
        return Symmetric() if config.cache_compression_vae or config.slice_compression_vae else Causal()


def _following(mode: TemporalMode) -> TemporalMode:
    return mode.following() if isinstance(mode, Cached) else mode


def _chunks(x: Tensor, size: int, *, first: int = 0) -> tuple[Tensor, ...]:
    """Cut along time: `first` frames (0 or 1), then chunks of `size`, the last maybe shorter."""
    if not first:
        return x.split(size, dim=2)
    return (x[:, :, :1], *(x[:, :, 1:].split(size, dim=2) if x.shape[2] > 1 else ()))


if TYPE_CHECKING:  # the class is what the sampling pipeline takes
    from easyanimate_core.interfaces import SmoothingAutoencoder

    _: type[SmoothingAutoencoder] = AutoencoderKLMagvit
