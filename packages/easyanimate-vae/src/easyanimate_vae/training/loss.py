"""The losses of VAE training.

Axes: B batch, C channels, T frames, H height, W width in pixels [-1, 1]; t, h, w the same in latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from jaxtyping import Float

    from easyanimate_vae.training.config import LossConfig
    from easyanimate_vae.training.perceptual import PerceptualDistance

ANCHOR_SCALE = 0.8
"""Gives the anchored channels about unit standard deviation on shapes clips."""

_LATENT_LOSSES = ("kl", "anchor")
"""Losses of the latents alone."""


class Loss(NamedTuple):
    """The losses of a batch.

    Args:
        total: Weighted sum of all losses.
        reconstruction: Weighted sum of the losses of the reconstructed clip.
        parts: Each loss before weighting, without gradients.
    """

    total: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    parts: dict[str, Tensor]


def compute_loss(  # noqa: PLR0913 (keyword-only: a batch and its reconstruction)
    config: LossConfig,
    *,
    pixels: Float[Tensor, "B 3 T H W"],
    decoded: Float[Tensor, "B 3 T H W"],
    posterior: DiagonalGaussianDistribution,
    progress: float,
    distance: PerceptualDistance | None = None,
) -> Loss:
    """Compute the losses of a reconstruction.

    Args:
        config: Weights of the losses.
        pixels: The clips.
        decoded: Their reconstructions.
        posterior: The latent distribution that they were decoded from.
        progress: Share of the run that is done, 0 to 1.
        distance: LPIPS, where the perceptual loss is used.
    """
    error = decoded - pixels
    weight = torch.ones(pixels.shape[2], device=pixels.device)
    weight[0] = config.first_frame
    of_frame = weight / weight.mean()
    weight = of_frame[:, None, None]
    parts = {
        "l1": (weight * error.abs()).mean(),
        "mse": (weight * error.square()).mean(),
        "colour": (weight * (error - error.roll(1, dims=1)).square()).mean(),
        # KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2
        "kl": 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).mean(),
    }
    weights = {"l1": config.l1, "mse": config.mse, "colour": config.colour, "kl": config.kl}
    if distance is not None:
        parts["perceptual"] = (of_frame * distance(pixels, decoded)).mean()
        weights["perceptual"] = config.perceptual
    pull = config.anchor * max(0.0, 1.0 - progress / config.anchor_share) if config.anchor else 0.0
    if pull > 0:
        parts["anchor"] = anchor_error(pixels, posterior.mean)
        weights["anchor"] = pull
    weighted = {name: weights[name] * part for name, part in parts.items()}
    return Loss(
        total=torch.stack(list(weighted.values())).sum(),
        reconstruction=torch.stack([part for name, part in weighted.items() if name not in _LATENT_LOSSES]).sum(),
        parts={name: part.detach() for name, part in parts.items()},
    )


def anchor_error(pixels: Float[Tensor, "B 3 T H W"], mean: Float[Tensor, "B C t h w"]) -> Float[Tensor, ""]:
    """Squared error of the first three latent channels to brightness, red-green and yellow-blue of their pixels.

    Red, green and blue are so correlated that hue would be a small part of latents anchored to them.
    """
    _, _, frames, height, width = mean.shape
    red, green, blue = functional.adaptive_avg_pool3d(pixels, (frames, height, width)).unbind(dim=1)
    opponents = torch.stack([red + green + blue, 3 * (red - green), 2 * (red + green) - 4 * blue], dim=1)
    return functional.mse_loss(mean[:, :3], ANCHOR_SCALE * opponents)


def measure_psnr(mse: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Peak signal to noise ratio in dB from a mean squared error on pixels in [-1, 1]."""
    return 10 * torch.log10(4.0 / mse.clamp(min=1e-12))
