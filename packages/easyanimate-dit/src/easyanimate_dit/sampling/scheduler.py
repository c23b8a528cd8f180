"""What a run asks of a sampler: its timesteps, a step whose noise comes from the run's source, and Euler ancestral.

Axes: B batch, C channels, T frames, H height, W width of the latents.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from diffusers.schedulers.scheduling_euler_ancestral_discrete import (
    EulerAncestralDiscreteScheduler,
    EulerAncestralDiscreteSchedulerOutput,
)
from easyanimate_core.errors import RequestError

from easyanimate_dit.sampling.noise import NoiseUse
from easyanimate_dit.sampling.sampler import allow_tensors_as_arrays

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from easyanimate_dit.sampling.noise import NoiseSource


class EulerAncestralScheduler(EulerAncestralDiscreteScheduler):
    """Euler ancestral that takes its noise from outside; diffusers' class can only draw it by itself."""

    takes_noise = True

    def step(  # noqa: PLR0913 (diffusers' arguments, and the noise)
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
        *,
        variance_noise: Tensor | None = None,
    ) -> Any:
        """Take one step, with `variance_noise` [as `sample`] in place of a draw.

        Source: ancestral sampling in k-diffusion (Karras et al., arXiv 2206.00364, with the step split into a
        deterministic part down to sigma_down and fresh noise of deviation sigma_up).
        """
        if variance_noise is None:
            return super().step(model_output, timestep, sample, generator=generator, return_dict=return_dict)
        if self.step_index is None:
            self._init_step_index(timestep)
        index: int = self.step_index or 0
        sigma, sigma_next = self.sigmas[index], self.sigmas[index + 1]
        sample = sample.float()
        if self.config["prediction_type"] == "v_prediction":
            clean = model_output * (-sigma / (sigma**2 + 1) ** 0.5) + sample / (sigma**2 + 1)
        else:
            clean = sample - sigma * model_output
        sigma_up = (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5
        sigma_down = (sigma_next**2 - sigma_up**2) ** 0.5
        previous = sample + (sample - clean) / sigma * (sigma_down - sigma) + variance_noise * sigma_up
        previous = previous.to(model_output.dtype)
        self._step_index = index + 1
        if not return_dict:
            return previous, clean
        return EulerAncestralDiscreteSchedulerOutput(prev_sample=previous, pred_original_sample=clean)


def set_timesteps(scheduler: Any, num_inference_steps: int, strength: float) -> Tensor:
    """Choose the timesteps of a run, and return them on the CPU, where the sampler's own tables are.

    Strength below 1 skips the first ones: `num_inference_steps * strength`, rounded down, are used.

    Raises:
        RequestError: the sampler has not as many steps, or so few are left that the source would come back unchanged.
    """
    try:
        with allow_tensors_as_arrays():
            scheduler.set_timesteps(num_inference_steps, device="cpu")
    except ValueError as error:
        raise RequestError(
            "The sampler cannot take that many steps.",
            received=f"{num_inference_steps} steps ({str(error)[:200]})",
            fix="use fewer steps",
        ) from error
    used = min(int(num_inference_steps * strength), num_inference_steps)
    if used < 1:
        raise RequestError(
            "The strength leaves no step to take.",
            received=f"strength {strength} with {num_inference_steps} steps",
            expected=f"a strength of at least 1 / {num_inference_steps}",
            fix="use more steps or a higher strength",
        )
    skipped = (num_inference_steps - used) * getattr(scheduler, "order", 1)
    # The sampler need not search for its first timestep, and noise can be added before the first step.
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.timesteps[skipped:]


def take_step(scheduler: Any, prediction: Tensor, timestep: Tensor, latents: Tensor, noise: NoiseSource) -> Tensor:
    """Take one step; noise comes from the run's source."""
    options: dict[str, Any] = {}
    if getattr(scheduler, "takes_noise", False):
        options["variance_noise"] = noise.draw(
            latents.shape, NoiseUse.STEP, device=latents.device, dtype=prediction.dtype
        )
    elif "generator" in inspect.signature(scheduler.step).parameters:
        options["generator"] = noise.generator
    return scheduler.step(prediction, timestep, latents, return_dict=False, **options)[0]
