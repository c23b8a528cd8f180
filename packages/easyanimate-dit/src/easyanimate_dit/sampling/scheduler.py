"""Schedulers, which a user knows as samplers: made by name, their timesteps, a step whose noise is the run's own.

Axes: B batch, C channels, T frames, H height, W width of the latents.
"""

from __future__ import annotations

import inspect
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diffusers.schedulers.scheduling_euler_ancestral_discrete import (
    EulerAncestralDiscreteScheduler,
    EulerAncestralDiscreteSchedulerOutput,
)
from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.registry import load_plugins
from easyanimate_torch.quiet import silence_libraries

from easyanimate_dit.sampling.noise import NoiseUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from easyanimate_core.interfaces import Scheduler
    from torch import Tensor

    from easyanimate_dit.sampling.noise import NoiseSource


def make_scheduler(name: str, config: Mapping[str, Any]) -> Scheduler:
    """Make the sampler that a plugin offers as `name`.

    Args:
        name: As on the command line.
        config: Of the scheduler of the weights. It may name another class (the official one says DDPMScheduler): all
            schedulers share its fields.

    Raises:
        RequestError: No sampler has this name.
    """
    known = load_plugins().schedulers()
    if name not in known:
        raise RequestError(
            "There is no such sampler.", received=name, expected=", ".join(known), fix=near_misses(name, known)
        )
    with _allow_tensors_as_arrays(), silence_libraries():
        return known[name].create(dict(config))


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


def set_timesteps(scheduler: Scheduler, num_inference_steps: int, strength: float) -> Tensor:
    """Choose the timesteps of a run, and return them on the CPU, where the scheduler's own tables are.

    Strength below 1 skips the first ones: `num_inference_steps * strength`, rounded down, are used.

    Raises:
        RequestError: the sampler has not as many steps, or so few are left that the source would come back unchanged.
    """
    try:
        with _allow_tensors_as_arrays():
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
    skipped = (num_inference_steps - used) * scheduler.order
    # The scheduler need not search for its first timestep, and noise can be added before the first step.
    set_begin_index = getattr(scheduler, "set_begin_index", None)
    if set_begin_index is not None:
        set_begin_index(skipped)
    return scheduler.timesteps[skipped:]


def take_step(
    scheduler: Scheduler, prediction: Tensor, timestep: Tensor, latents: Tensor, noise: NoiseSource
) -> Tensor:
    """Take one step; its noise comes from the run's source.

    A scheduler with an attribute `takes_noise` that is true gets a draw as `variance_noise`; one whose step has an
    argument `generator` draws by itself.
    """
    options: dict[str, Any] = {}
    if getattr(scheduler, "takes_noise", False):
        options["variance_noise"] = noise.draw(
            latents.shape, NoiseUse.STEP, device=latents.device, dtype=prediction.dtype
        )
    elif "generator" in inspect.signature(scheduler.step).parameters:
        options["generator"] = noise.generator
    step: Any = scheduler.step
    return step(prediction, timestep, latents, return_dict=False, **options)[0]


@contextmanager
def _allow_tensors_as_arrays() -> Iterator[None]:
    """Silence a deprecation of NumPy 2 inside diffusers' schedulers, which hand tensors to `numpy.array`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


if TYPE_CHECKING:  # the class is what the sampling pipeline takes
    _: type[Scheduler] = EulerAncestralScheduler
