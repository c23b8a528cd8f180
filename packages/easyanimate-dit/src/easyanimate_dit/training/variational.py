"""The loss of V1 to V3: squared error of the noise, and a variational bound that trains the predicted variance.

Sources: Nichol and Dhariwal, arXiv 2102.09672 (learned variance, equations 14 and 15; respaced timesteps, section 4);
Ho et al., arXiv 2006.11239 (posterior, equations 6 and 7; discretised likelihood, equation 13).

Axes: B samples, C channels, t latent frames, h, w latent rows and columns; S steps of the schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float, Int

_SNR_STEP = 249
"""With `snr`, the loss compares clean latents up to this step of the schedule, and noise after it."""

_LEVELS = 255.0
"""The likelihood treats latents as if they had this many levels from -1 to 1."""


@dataclass(frozen=True)
class VariationalLoss:
    """The parts of the loss, each [B].

    Args:
        mse: Mean squared error of the noise (or of the clean latents).
        bound: Variational bound in bits per latent value; it has gradients for the variance only.
    """

    mse: Tensor
    bound: Tensor

    @property
    def total(self) -> Float[Tensor, " B"]:
        """Their sum."""
        return self.mse + self.bound


def read_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The noise schedule of a scheduler's configuration.

    Raises:
        RequestError: The model does not predict noise on a linear schedule.
    """
    if config.get("prediction_type", "epsilon") != "epsilon" or config.get("beta_schedule") != "linear":
        raise RequestError(
            "The variational loss does not support this model's noise schedule.",
            received=f"{config.get('prediction_type')}, {config.get('beta_schedule')}",
            expected="prediction_type epsilon, beta_schedule linear: the released V1 to V3",
            fix="use loss: mse",
        )
    steps = config["num_train_timesteps"]
    return NoiseSchedule(steps, beta_start=config["beta_start"], beta_end=config["beta_end"], num_train_timesteps=steps)


class NoiseSchedule:
    """A linear noise schedule, or evenly spaced steps of one.

    Args:
        num_steps: Number of steps.
        beta_start: Variance of the first timestep.
        beta_end: Variance of the last timestep.
        num_train_timesteps: Number of timesteps of the whole schedule.
    """

    def __init__(
        self,
        num_steps: int = 1000,
        *,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        num_train_timesteps: int = 1000,
    ) -> None:
        betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)
        alphas_cumprod = (1 - betas).cumprod(0)
        stride = (num_train_timesteps - 1) / max(num_steps - 1, 1)
        self.timesteps: Int[Tensor, " S"] = torch.tensor([round(index * stride) for index in range(num_steps)])
        """The timesteps of the steps, as the transformer takes them."""
        self._alpha_bar = alphas_cumprod[self.timesteps]
        previous = torch.cat([torch.ones(1, dtype=torch.float64), self._alpha_bar[:-1]])
        self._alpha_bar_previous = previous
        self._beta = 1 - self._alpha_bar / previous
        self._posterior_variance = self._beta * (1 - previous) / (1 - self._alpha_bar)

    def add_noise(
        self, latents: Float[Tensor, "B C t h w"], noise: Float[Tensor, "B C t h w"], index: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C t h w"]:
        """Noisy latents at the steps `index` of this schedule."""
        alpha_bar = self._alpha_bar[index.cpu()]
        return _expand(alpha_bar.sqrt(), latents) * latents + _expand((1 - alpha_bar).sqrt(), latents) * noise

    def compute_loss(
        self,
        output: Float[Tensor, "B D t h w"],
        *,
        latents: Float[Tensor, "B C t h w"],
        noise: Float[Tensor, "B C t h w"],
        index: Int[Tensor, " B"],
        snr: bool = False,
    ) -> VariationalLoss:
        """The loss of each sample.

        Args:
            output: The transformer's output: the noise, then the variance between its bounds, -1 to 1; D is 2 C.
            latents: The clean latents.
            noise: The noise that was added.
            index: Steps of this schedule.
            snr: Compare the clean latents instead of the noise at early steps.
        """
        index = index.cpu()  # where the schedule is
        predicted, variance = output.float().chunk(2, dim=1)
        noisy = self.add_noise(latents, noise, index)
        mse = (noise - predicted).square().flatten(1).mean(1)
        if snr:
            clean_mse = (latents - self._predict_clean(noisy, predicted, index)).square().flatten(1).mean(1)
            mse = torch.where((index > _SNR_STEP).to(mse.device), mse, clean_mse)
        return VariationalLoss(mse, self._compute_bound(predicted.detach(), variance, latents, noisy, index))

    def _predict_clean(self, noisy: Tensor, predicted: Tensor, index: Tensor) -> Tensor:
        alpha_bar = self._alpha_bar[index]
        return _expand(alpha_bar.rsqrt(), noisy) * noisy - _expand((1 / alpha_bar - 1).sqrt(), noisy) * predicted

    def _find_mean(self, clean: Tensor, noisy: Tensor, index: Tensor) -> Tensor:
        """Posterior mean of the previous step, given the clean latents."""
        alpha_bar, previous, beta = self._alpha_bar[index], self._alpha_bar_previous[index], self._beta[index]
        of_clean = beta * previous.sqrt() / (1 - alpha_bar)
        of_noisy = (1 - previous) * (1 - beta).sqrt() / (1 - alpha_bar)
        return _expand(of_clean, noisy) * clean + _expand(of_noisy, noisy) * noisy

    def _compute_bound(
        self, predicted: Tensor, variance: Tensor, latents: Tensor, noisy: Tensor, index: Tensor
    ) -> Tensor:
        """In bits: the divergence from the true previous step; at the first step, the negative log likelihood."""
        true_mean = self._find_mean(latents, noisy, index)
        # The posterior variance of the first step is 0; its logarithm is replaced by that of the second.
        logs = self._posterior_variance.clone()
        logs[0] = logs[1] if len(logs) > 1 else self._beta[0]
        low, high = _expand(logs.log()[index], noisy), _expand(self._beta.log()[index], noisy)
        share = (variance + 1) / 2
        log_variance = share * high + (1 - share) * low
        mean = self._find_mean(self._predict_clean(noisy, predicted, index), noisy, index)
        divergence = _diverge(true_mean, low, mean, log_variance)
        likelihood = -_log_likelihood(latents, mean, log_variance / 2)
        first = (index == 0).to(noisy.device).view(-1, *[1] * (noisy.ndim - 1))
        nats = torch.where(first, likelihood, divergence).flatten(1).mean(1)
        return nats / math.log(2.0)


def _expand(values: Tensor, like: Tensor) -> Tensor:
    """Values [B] of the schedule as float32 [B, 1, ...], to multiply with a tensor [B, ...]."""
    return values.to(like.device, torch.float32).view(-1, *[1] * (like.ndim - 1))


def _diverge(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL divergence of the first normal distribution from the second, in nats."""
    ratio = torch.exp(log_variance - other_log_variance)
    distance = (mean - other_mean).square() * torch.exp(-other_log_variance)
    return 0.5 * (other_log_variance - log_variance - 1.0 + ratio + distance)


def _log_likelihood(values: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log probability of the level that each value is at; the outermost levels extend to infinity."""
    scale = torch.exp(-log_deviation)
    above = _cumulate(scale * (values - mean + 1.0 / _LEVELS))
    below = _cumulate(scale * (values - mean - 1.0 / _LEVELS))
    probability = torch.where(values < -0.999, above, torch.where(values > 0.999, 1.0 - below, above - below))  # noqa: PLR2004
    return probability.clamp(min=1e-12).log()


def _cumulate(x: Tensor) -> Tensor:
    """The cumulative normal distribution, by the tanh approximation that GELU also uses."""
    return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
