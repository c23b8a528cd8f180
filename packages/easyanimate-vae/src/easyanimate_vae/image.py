"""`FrameAutoencoder`: the image VAE of V1, which encodes and decodes a clip frame by frame.

Axes: B batch, C channels, T frames, H height, W width in pixels [-1, 1]; h, w the same in latents.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from jaxtyping import Float
from torch import Tensor

_SLICE = 4
"""Frames that go through the network together, so that memory does not grow with the clip."""


class FrameAutoencoder(AutoencoderKL):
    """diffusers' `AutoencoderKL` (8x smaller in space) on clips; configuration and keys are those of that class."""

    @overload
    def encode(self, x: Tensor, return_dict: Literal[True] = True) -> AutoencoderKLOutput: ...

    @overload
    def encode(self, x: Tensor, return_dict: Literal[False]) -> tuple[DiagonalGaussianDistribution]: ...

    def encode(  # pyright: ignore[reportIncompatibleMethodOverride] (clips in place of images)
        self, x: Float[Tensor, "B C T H W"], return_dict: bool = True
    ) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The latent distribution [B, 4, T, h, w] of a clip."""
        images: Any = super()
        moments = [images.encode(part).latent_dist.parameters for part in _split(x)]
        posterior = DiagonalGaussianDistribution(_join(moments, x.shape[0]))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(  # pyright: ignore[reportIncompatibleMethodOverride] (clips in place of images)
        self, z: Float[Tensor, "B C T h w"], return_dict: bool = True, generator: Any = None
    ) -> DecoderOutput | tuple[Tensor]:
        """The clip [B, 3, T, H, W] of latents."""
        del generator  # decoding draws nothing
        decoded = torch.cat(list(self.decode_chunks(z)), dim=2)
        return DecoderOutput(sample=decoded) if return_dict else (decoded,)

    def decode_chunks(self, z: Float[Tensor, "B C T h w"]) -> Iterator[Float[Tensor, "B 3 part H W"]]:
        """The clip in pieces of a few frames, in order."""
        images: Any = super()
        for part in _split(z):
            yield images.decode(part).sample.unflatten(0, (z.shape[0], -1)).transpose(1, 2)


def _split(x: Float[Tensor, "B C T H W"]) -> Iterator[Float[Tensor, "frames C H W"]]:
    """A few frames of every clip at a time."""
    for part in x.split(_SLICE, dim=2):
        yield part.transpose(1, 2).flatten(0, 1)


def _join(parts: list[Float[Tensor, "frames C H W"]], num_clips: int) -> Float[Tensor, "B C T H W"]:
    """The inverse of `_split`."""
    return torch.cat([part.unflatten(0, (num_clips, -1)) for part in parts], dim=1).transpose(1, 2)


if TYPE_CHECKING:  # the class is what the sampling pipeline takes
    from easyanimate_core.interfaces import VideoAutoencoder

    _: type[VideoAutoencoder] = FrameAutoencoder
