"""Timesteps, targets and the mean squared error of transformer training.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def draw_timesteps(kind: str, num: int, *, num_train_timesteps: int, generator: torch.Generator) -> Int[Tensor, " B"]:
    """Draw timesteps from 0 to 999, "uniform" or "logit_normal": floor(1000 sigmoid(N(0, 1)))."""
    if kind == "uniform":
        return torch.randint(num_train_timesteps, (num,), generator=generator)
    drawn = torch.randn(num, generator=generator).sigmoid().mul(num_train_timesteps).floor()
    return drawn.clamp(0, num_train_timesteps - 1).long()


def make_target(
    scheduler: Any,
    latents: Float[Tensor, "B C t h w"],
    noise: Float[Tensor, "B C t h w"],
    timesteps: Int[Tensor, " B"],
) -> Float[Tensor, "B C t h w"]:
    """The target of the prediction: the noise, or the velocity alpha * noise - sigma * latents."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)
    return noise


def compute_loss(
    prediction: Float[Tensor, "B D t h w"], target: Float[Tensor, "B C t h w"], *, motion_sub_loss: float = 0.0
) -> Float[Tensor, ""]:
    """Mean squared error of the first C channels, in float32; channels of a learned variance are ignored.

    With `motion_sub_loss` r and more than two latent frames: (1 - r) times that, plus r times the mean squared error of
    the differences between neighbouring frames.
    """
    prediction, target = prediction[:, : target.shape[1]].float(), target.float()
    loss = functional.mse_loss(prediction, target)
    if motion_sub_loss and target.shape[2] > 2:  # noqa: PLR2004
        motion = functional.mse_loss(prediction.diff(dim=2), target.diff(dim=2))
        loss = (1 - motion_sub_loss) * loss + motion_sub_loss * motion
    return loss
