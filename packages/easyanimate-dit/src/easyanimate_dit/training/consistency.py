"""Consistency distillation: the consistency function, the teacher's DDIM step, and the loss.

Sources: Luo et al., arXiv 2310.04378 (latent consistency, sections 4.1 to 4.3; guided distillation, equation 11) and
arXiv 2311.05556 (as a LoRA); Song et al., arXiv 2202.00512 (DDIM, equation 12; velocity, appendix D).

Axes: B samples, C channels, t latent frames, h, w latent rows and columns; S steps of the solver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from easyanimate_dit.training.config import LcmConfig

_SIGMA_DATA = 0.5
"""Assumed standard deviation of the latents; diffusers' LCMScheduler has the same."""


class ConsistencySolver:
    """Clean latents and DDIM steps from predictions.

    Args:
        scheduler: A DDPMScheduler, which gives noise levels and the type of prediction.
        config: Settings.

    Raises:
        RequestError: There are fewer timesteps than DDIM steps.
    """

    def __init__(self, scheduler: Any, config: LcmConfig) -> None:
        num_train_timesteps, num_steps = scheduler.config.num_train_timesteps, config.num_ddim_steps
        if num_steps > num_train_timesteps:
            raise RequestError(
                "lcm.num_ddim_steps is too large.", received=num_steps, expected=f"at most {num_train_timesteps}"
            )
        stride = num_train_timesteps // num_steps
        self.timesteps: Int[Tensor, " S"] = torch.arange(1, num_steps + 1) * stride - 1
        """Timesteps of the DDIM steps, the least noisy first."""
        self.previous_timesteps: Int[Tensor, " S"] = (self.timesteps - stride).clamp(min=0)
        """The less noisy timestep that each DDIM step leads to."""
        self._alphas_cumprod = scheduler.alphas_cumprod.clone()
        self._predicts_velocity = scheduler.config.prediction_type == "v_prediction"
        self._scaling = config.timestep_scaling

    def predict_origin(
        self, noisy: Float[Tensor, "B C t h w"], prediction: Float[Tensor, "B C t h w"], timesteps: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C t h w"]:
        """The consistency function: predicted clean latents, blended with the noisy ones where those are clean."""
        clean, _ = self._split(noisy, prediction, timesteps)
        scaled = self._scaling * _expand(timesteps.to(noisy.dtype), noisy)
        skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
        out = scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
        return skip * noisy + out * clean

    def take_ddim_step(
        self,
        noisy: Float[Tensor, "B C t h w"],
        prediction: Float[Tensor, "B C t h w"],
        start: Int[Tensor, " B"],
        end: Int[Tensor, " B"],
    ) -> Float[Tensor, "B C t h w"]:
        """A DDIM step from timesteps `start` to `end`."""
        clean, noise = self._split(noisy, prediction, start)
        alpha, sigma = self._find_level(end, noisy)
        return alpha * clean + sigma * noise

    def _split(self, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The clean latents and the noise of a prediction."""
        alpha, sigma = self._find_level(timesteps, noisy)
        if self._predicts_velocity:
            return alpha * noisy - sigma * prediction, alpha * prediction + sigma * noisy
        return (noisy - sigma * prediction) / alpha, prediction

    def _find_level(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors alpha and sigma of the clean latents and of the noise."""
        self._alphas_cumprod = self._alphas_cumprod.to(like.device)
        alphas_cumprod = _expand(self._alphas_cumprod[timesteps], like)
        return alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()


def compute_consistency_loss(
    predicted: Float[Tensor, "*axes"], target: Float[Tensor, "*axes"], config: LcmConfig
) -> Tensor:
    """Mean squared error, or with "huber" the mean of sqrt(d^2 + c^2) - c for differences d; in float32."""
    if config.loss == "l2":
        return functional.mse_loss(predicted.float(), target.float())
    differences = predicted.float() - target.float()
    return ((differences.square() + config.huber_c**2).sqrt() - config.huber_c).mean()


def _expand(values: Tensor, like: Tensor) -> Tensor:
    """Values [B] as [B, 1, ...], to multiply with a tensor [B, ...]."""
    return values.view(-1, *[1] * (like.ndim - 1))
