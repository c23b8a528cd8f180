"""Between pixels and latents: encode and decode through a VAE that is handed in, with its scaling factor.

Axes: B batch, C channels, T frames, H height, W width in pixels; t, h, w the same in latents.
"""

from collections.abc import Iterator

import torch
from easyanimate_core.errors import EasyAnimateError
from easyanimate_core.interfaces import AutoencoderConfig, Posterior, SmoothingAutoencoder, VideoAutoencoder
from easyanimate_core.shapes import PixelShape, ShapeRule
from jaxtyping import Float, UInt8
from torch import Tensor

from easyanimate_dit.sampling.noise import NoiseSource, NoiseUse


class LatentCodec:
    """The latent arithmetic of a model version.

    Args:
        vae: Codes clips.
        shapes: Which clips there are and how large their latents are.
        smooth: Whether the borders of chunks are smoothed after decoding (V2, V3); the VAE must be able to.
    """

    def __init__(self, vae: VideoAutoencoder, shapes: ShapeRule, *, smooth: bool = False) -> None:
        self._vae = vae
        self._smoothing = _require_smoothing(vae) if smooth else None
        self._config: AutoencoderConfig = vae.config
        self.shapes = shapes

    def latent_shape(self, num_videos: int, pixels: PixelShape) -> tuple[int, int, int, int, int]:
        """[B, C, t, h, w] of the latents of clips of this size."""
        latent = self.shapes.latent_shape(pixels)
        return num_videos, self._config.latent_channels, latent.num_frames, latent.height, latent.width

    def encode(
        self, pixels: Float[Tensor, "B 3 T H W"], noise: NoiseSource, use: NoiseUse, *, device: torch.device
    ) -> Float[Tensor, "B C t h w"]:
        """A sample of the posterior of pixels in [-1, 1], scaled for the transformer."""
        vae = self._vae
        posterior = vae.encode(pixels.to(device, vae.dtype)).latent_dist
        return _sample(posterior, noise, use) * self._config.scaling_factor

    def decode(self, latents: Float[Tensor, "B C t h w"], noise: NoiseSource) -> Iterator[Float[Tensor, "B 3 T H W"]]:
        """Pixels in [0, 1], piece by piece along time, each freed before the next is made; smoothed, in one piece.

        Args:
            latents: As the transformer gives them.
            noise: Of the posterior that smoothing draws from.
        """
        vae = self._vae
        unscaled = latents.to(vae.dtype) / self._config.scaling_factor
        if self._smoothing is not None:
            clip = self._smoothing.decode_smoothly(
                unscaled, lambda posterior: _sample(posterior, noise, NoiseUse.SMOOTHING)
            )
            yield clip / 2 + 0.5
            return
        for chunk in vae.decode_chunks(unscaled):
            yield chunk.clamp(-1, 1) / 2 + 0.5


def _require_smoothing(vae: VideoAutoencoder) -> SmoothingAutoencoder:
    if isinstance(vae, SmoothingAutoencoder):
        return vae
    raise EasyAnimateError(
        "The VAE cannot smooth the borders of its chunks.",
        received=type(vae).__name__,
        expected="a VAE with decode_smoothly",
        fix="use the VAE of the released weights of this version",
    )


def _sample(posterior: Posterior, noise: NoiseSource, use: NoiseUse) -> Float[Tensor, "B C t h w"]:
    """Latents from a posterior, with the run's noise."""
    mean = posterior.mean
    draw = noise.draw(mean.shape, use, device=mean.device, dtype=mean.dtype)
    return mean + torch.exp(0.5 * posterior.logvar) * draw


def to_uint8(pixels: Float[Tensor, "B 3 T H W"]) -> UInt8[Tensor, "B T H W 3"]:
    """Pixels in [0, 1] to whole levels on the CPU."""
    levels = (pixels.float() * 255).round_().to(torch.uint8)
    return levels.permute(0, 2, 3, 4, 1).contiguous().cpu()
