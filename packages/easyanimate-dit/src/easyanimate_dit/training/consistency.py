"""Consistency distillation: the jump from noise to the clip, the step that it is taught by, and how it is judged.

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
"""Deviation that latents count as having; diffusers' LCMScheduler has the same."""


class ConsistencySolver:
    """What a prediction at a timestep says about the clip, and about the step before.

    Args:
        scheduler: A DDPMScheduler: noise levels, and what the transformer predicts.
        config: Settings.

    Raises:
        RequestError: There are fewer timesteps than steps.
    """

    def __init__(self, scheduler: Any, config: LcmConfig) -> None:
        num_train_timesteps, num_steps = scheduler.config.num_train_timesteps, config.num_ddim_steps
        if num_steps > num_train_timesteps:
            raise RequestError(
                "lcm.num_ddim_steps is too large.", received=num_steps, expected=f"at most {num_train_timesteps}"
            )
        stride = num_train_timesteps // num_steps
        self.timesteps: Int[Tensor, " S"] = torch.arange(1, num_steps + 1) * stride - 1
        """Of the steps, the one next to the clip first."""
        self.earlier: Int[Tensor, " S"] = (self.timesteps - stride).clamp(min=0)
        """The timestep that each step leads to."""
        self._kept = scheduler.alphas_cumprod.clone()
        self._predicts_velocity = scheduler.config.prediction_type == "v_prediction"
        self._scaling = config.timestep_scaling

    def jump(
        self, noisy: Float[Tensor, "B C t h w"], prediction: Float[Tensor, "B C t h w"], timesteps: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C t h w"]:
        """The consistency function: the clip as predicted, and less of that the closer the noisy latents are to it."""
        clean, _ = self._split(noisy, prediction, timesteps)
        scaled = self._scaling * _spread(timesteps.to(noisy.dtype), noisy)
        skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
        out = scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
        return skip * noisy + out * clean

    def step(
        self,
        noisy: Float[Tensor, "B C t h w"],
        prediction: Float[Tensor, "B C t h w"],
        start: Int[Tensor, " B"],
        end: Int[Tensor, " B"],
    ) -> Float[Tensor, "B C t h w"]:
        """A step of DDIM from timesteps `start` to `end`."""
        clean, noise = self._split(noisy, prediction, start)
        alpha, sigma = self._find_level(end, noisy)
        return alpha * clean + sigma * noise

    def _split(self, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The clean latents and the noise that a prediction means."""
        alpha, sigma = self._find_level(timesteps, noisy)
        if self._predicts_velocity:
            return alpha * noisy - sigma * prediction, alpha * prediction + sigma * noisy
        return (noisy - sigma * prediction) / alpha, prediction

    def _find_level(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of the clean latents and of the noise."""
        self._kept = self._kept.to(like.device)
        kept = _spread(self._kept[timesteps], like)
        return kept.sqrt(), (1 - kept).sqrt()


def compute_distance(found: Float[Tensor, "*axes"], target: Float[Tensor, "*axes"], config: LcmConfig) -> Tensor:
    """Mean squared error, or with "huber" sqrt(d^2 + c^2) - c of the differences d, in float32."""
    if config.loss == "l2":
        return functional.mse_loss(found.float(), target.float())
    differences = found.float() - target.float()
    return ((differences.square() + config.huber_c**2).sqrt() - config.huber_c).mean()


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """[B], ready to be multiplied with [B, ...]."""
    return values.view(-1, *[1] * (like.ndim - 1))
