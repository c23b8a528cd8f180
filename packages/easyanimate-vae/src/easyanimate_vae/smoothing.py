"""The smoothing pass of the V2 and V3 pipelines: hides the borders between chunks that were decoded apart.

Axes: B batch, T frames, H height, W width.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from easyanimate_vae.autoencoder import AutoencoderKLMagvit

Draw = Callable[[DiagonalGaussianDistribution], Tensor]
"""Chooses latents from a posterior."""


def smooth_chunks(
    vae: "AutoencoderKLMagvit", clip: Float[Tensor, "B 3 T H W"], draw: Draw | None = None
) -> Float[Tensor, "B 3 T H W"]:
    """Code a clip again with its chunks moved by half a chunk, and average: every border is inside a chunk once.

    Args:
        vae: The VAE that decoded the clip; `mini_batch_encoder` frames are a chunk.
        clip: Decoded frames; a clip of one chunk is only clamped.
        draw: Chooses the latents of the second pass; None takes the mode.

    Returns:
        Frames in [-1, 1].
    """
    clip = clip.clamp(-1, 1)
    chunk = vae.settings.mini_batch_encoder
    frames = clip.shape[2]
    if frames <= chunk:
        return clip
    middle = slice(chunk // 2, frames - (chunk - chunk // 2))
    posterior = vae.encode(clip[:, :, middle]).latent_dist
    again = vae.decode(posterior.mode() if draw is None else draw(posterior)).sample
    clip[:, :, middle] = torch.lerp(clip[:, :, middle], again, 0.5)
    return clip.clamp_(-1, 1)
