"""LCM-LoRA as a training task: a LoRA that makes clips in a few steps, taught by the transformer that it is on.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from easyanimate_dit.training.consistency import ConsistencySolver, compute_distance
from easyanimate_dit.training.task import DenoisingTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easyanimate_core.dataset import BatchedDataset
    from easyanimate_core.request import Defaults
    from easyanimate_train.stream import Place

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import LoraTrainingConfig
    from easyanimate_dit.training.sample import Samples

_STEPS = 4
"""Of validation clips."""


class LcmTask(DenoisingTask):
    """Consistency distillation: after one guided step of the transformer without LoRA, the jump shall end where it did.

    The jump that it is compared with is the LoRA's own, without gradients; there is no second copy of any weights.

    Args:
        config: Settings, with `lcm`.
        pipeline: Every part of the model, in float32.
        dataset: The batches.
    """

    def __init__(self, config: LoraTrainingConfig, pipeline: EasyAnimatePipeline, dataset: BatchedDataset) -> None:
        super().__init__(config, pipeline, dataset)
        self._lcm = config.lcm
        self._solver = ConsistencySolver(self._scheduler, config.lcm)

    def _compare(self, module: Any, samples: Samples, texts: list[str], place: Place) -> Tensor:
        latents, noise, _ = self._draw(samples, place)
        step, guidance = self._draw_steps(place, latents.device)
        start, end = (table.to(latents.device)[step] for table in (self._solver.timesteps, self._solver.earlier))
        noisy = self._scheduler.add_noise(latents, noise, start)
        told = self._condition(samples, texts, latents)

        def predict(noisy: Tensor, timesteps: Tensor, told: dict[str, Any]) -> Tensor:
            prediction = module(noisy, timesteps.to(noisy.dtype), **told, return_dict=False)[0]
            return prediction[:, : noisy.shape[1]].float()

        # What needs no gradients comes first, while no activations are kept for the backward pass.
        with torch.no_grad():
            with _without_lora(self._transformer):
                positive = predict(noisy, start, told)
                negative = predict(noisy, start, self._condition(_without_image(samples), [""] * len(texts), latents))
            guided = positive + guidance.view(-1, *[1] * (latents.ndim - 1)) * (positive - negative)
            before = self._solver.step(noisy, guided, start, end)
            target = self._solver.jump(before, predict(before, end, told), end)
        # Some versions of PyTorch go on with the 16-bit copies of weights that were made without gradients.
        torch.clear_autocast_cache()
        found = self._solver.jump(noisy, predict(noisy, start, told), start)
        return compute_distance(found, target, self._lcm)

    def _draw_steps(self, place: Place, device: torch.device) -> tuple[Tensor, Tensor]:
        """Steps of the solver and guidance w, each [B]; drawn for the whole batch, of which a process takes some."""
        generator = self._make_generator(place, 1)
        steps = torch.randint(len(self._solver.timesteps), (place.num_rows,), generator=generator)
        low, high = self._lcm.guidance
        guidance = low + (high - low) * torch.rand(place.num_rows, generator=generator)
        return place.take(steps).to(device), place.take(guidance).to(device)

    def _choose_sampling(self) -> Defaults:
        usual = super()._choose_sampling()
        return replace(usual, sampler="lcm", num_inference_steps=_STEPS, guidance_scale=1.0)


@contextmanager
def _without_lora(transformer: Any) -> Iterator[None]:
    """The transformer is as it was before the LoRA within the body."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


def _without_image(samples: Samples) -> Samples:
    """The same without reference images."""
    return replace(samples, image={name: torch.zeros_like(value) for name, value in samples.image.items()})
