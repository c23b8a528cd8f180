"""The loss of V1 to V3: noise, and the range of the variance that the transformer learns beside it.

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
"""With the SNR option, steps up to this one are judged by the clean latents, later ones by the noise."""

_LEVELS = 255.0
"""Latents count as if they had this many levels from -1 to 1."""


@dataclass(frozen=True)
class VariationalLoss:
    """The parts of the loss, each [B].

    Args:
        mse: Squared error of the noise (or of the clean latents), mean over a sample.
        bound: Variational bound in bits per latent value; only the variance learns from it.
    """

    mse: Tensor
    bound: Tensor

    @property
    def total(self) -> Float[Tensor, " B"]:
        """Their sum."""
        return self.mse + self.bound


def read_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule of a sampler's configuration.

    Raises:
        RequestError: The model does not predict noise on a linear schedule.
    """
    if config.get("prediction_type", "epsilon") != "epsilon" or config.get("beta_schedule") != "linear":
        raise RequestError(
            "The variational loss does not fit this model's schedule.",
            received=f"{config.get('prediction_type')}, {config.get('beta_schedule')}",
            expected="prediction_type epsilon, beta_schedule linear: the released V1 to V3",
            fix="use loss: mse",
        )
    steps = config["num_train_timesteps"]
    return NoiseSchedule(steps, beta_start=config["beta_start"], beta_end=config["beta_end"], num_train_timesteps=steps)


class NoiseSchedule:
    """A linear schedule of 1000 steps, or some of its steps.

    Args:
        num_steps: Steps that are used, evenly spread over the 1000.
        beta_start: Variance of the first of the 1000 steps.
        beta_end: Variance of the last.
        num_train_timesteps: The 1000.
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
        kept = (1 - betas).cumprod(0)
        stride = (num_train_timesteps - 1) / max(num_steps - 1, 1)
        self.timesteps: Int[Tensor, " S"] = torch.tensor([round(index * stride) for index in range(num_steps)])
        """The steps of the 1000; the transformer is told these numbers."""
        self._alpha_bar = kept[self.timesteps]
        before = torch.cat([torch.ones(1, dtype=torch.float64), self._alpha_bar[:-1]])
        self._alpha_bar_before = before
        self._beta = 1 - self._alpha_bar / before
        self._posterior_variance = self._beta * (1 - before) / (1 - self._alpha_bar)

    def add_noise(
        self, latents: Float[Tensor, "B C t h w"], noise: Float[Tensor, "B C t h w"], index: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C t h w"]:
        """Noisy latents at step `index` of this schedule."""
        kept = self._alpha_bar[index.cpu()]
        return _at(kept.sqrt(), latents) * latents + _at((1 - kept).sqrt(), latents) * noise

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
            output: Of the transformer: noise, then the place of the variance in its range; D is 2 C.
            latents: Clean ones.
            noise: What was added.
            index: Steps of this schedule.
            snr: Judge the early steps by the clean latents instead of the noise.
        """
        index = index.cpu()  # as the schedule is
        predicted, place = output.float().chunk(2, dim=1)
        noisy = self.add_noise(latents, noise, index)
        mse = (noise - predicted).square().flatten(1).mean(1)
        if snr:
            clean_mse = (latents - self._find_clean(noisy, predicted, index)).square().flatten(1).mean(1)
            mse = torch.where((index > _SNR_STEP).to(mse.device), mse, clean_mse)
        return VariationalLoss(mse, self._compute_bound(predicted.detach(), place, latents, noisy, index))

    def _find_clean(self, noisy: Tensor, predicted: Tensor, index: Tensor) -> Tensor:
        kept = self._alpha_bar[index]
        return _at(kept.rsqrt(), noisy) * noisy - _at((1 / kept - 1).sqrt(), noisy) * predicted

    def _find_mean(self, clean: Tensor, noisy: Tensor, index: Tensor) -> Tensor:
        """Mean of the step before, given the clean latents."""
        kept, before, beta = self._alpha_bar[index], self._alpha_bar_before[index], self._beta[index]
        of_clean = beta * before.sqrt() / (1 - kept)
        of_noisy = (1 - before) * (1 - beta).sqrt() / (1 - kept)
        return _at(of_clean, noisy) * clean + _at(of_noisy, noisy) * noisy

    def _compute_bound(self, predicted: Tensor, place: Tensor, latents: Tensor, noisy: Tensor, index: Tensor) -> Tensor:
        """In bits: the divergence from the true step before; at the first step the likelihood of the latents."""
        true_mean = self._find_mean(latents, noisy, index)
        # The posterior's variance is 0 at the first step, where its logarithm is that of the second one.
        logs = self._posterior_variance.clone()
        logs[0] = logs[1] if len(logs) > 1 else self._beta[0]
        low, high = _at(logs.log()[index], noisy), _at(self._beta.log()[index], noisy)
        share = (place + 1) / 2
        log_variance = share * high + (1 - share) * low
        mean = self._find_mean(self._find_clean(noisy, predicted, index), noisy, index)
        divergence = _diverge(true_mean, low, mean, log_variance)
        likelihood = -_log_likelihood(latents, mean, log_variance / 2)
        first = (index == 0).to(noisy.device).view(-1, *[1] * (noisy.ndim - 1))
        nats = torch.where(first, likelihood, divergence).flatten(1).mean(1)
        return nats / math.log(2.0)


def _at(values: Tensor, like: Tensor) -> Tensor:
    """[B] of the schedule, in float32, ready to be multiplied with [B, ...]."""
    return values.to(like.device, torch.float32).view(-1, *[1] * (like.ndim - 1))


def _diverge(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL divergence of one normal distribution from another, in nats."""
    ratio = torch.exp(log_variance - other_log_variance)
    distance = (mean - other_mean).square() * torch.exp(-other_log_variance)
    return 0.5 * (other_log_variance - log_variance - 1.0 + ratio + distance)


def _log_likelihood(values: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Logarithm of the probability of the level that a value is at; the outermost levels reach to infinity."""
    scale = torch.exp(-log_deviation)
    above = _cumulate(scale * (values - mean + 1.0 / _LEVELS))
    below = _cumulate(scale * (values - mean - 1.0 / _LEVELS))
    probability = torch.where(values < -0.999, above, torch.where(values > 0.999, 1.0 - below, above - below))  # noqa: PLR2004
    return probability.clamp(min=1e-12).log()


def _cumulate(x: Tensor) -> Tensor:
    """The cumulative normal distribution, by the approximation with a hyperbolic tangent that GELU uses, too."""
    return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
