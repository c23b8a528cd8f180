"""LCM-LoRA as a training task: consistency distillation of the transformer into a LoRA on it.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from easyanimate_dit.training.consistency import ConsistencySolver, compute_consistency_loss
from easyanimate_dit.training.task import DenoisingTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easyanimate_core.dataset import BatchedDataset
    from easyanimate_core.model import Model
    from easyanimate_train.stream import BatchShard

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import LoraTrainingConfig
    from easyanimate_dit.training.sample import Samples

_NUM_SAMPLING_STEPS = 4
"""Sampling steps of validation clips."""


class LcmTask(DenoisingTask):
    """Consistency distillation of the transformer into its LoRA.

    The teacher, the transformer without LoRA, takes one guided DDIM step. The student, with LoRA, learns to predict the
    same clean latents before that step as after it. The target is the student's own prediction without gradients, so
    there is no second copy of any weights.

    Args:
        config: Settings, with `lcm` enabled.
        pipeline: All components of the model, in float32.
        dataset: Batches of training data.
        model: See `DenoisingTask`.
    """

    def __init__(
        self,
        config: LoraTrainingConfig,
        pipeline: EasyAnimatePipeline,
        dataset: BatchedDataset,
        model: Model | None = None,
    ) -> None:
        super().__init__(config, pipeline, dataset, model)
        self._lcm = config.lcm
        self._sampling = {"sampler": "lcm", "num_inference_steps": _NUM_SAMPLING_STEPS, "guidance_scale": 1.0}
        self._solver = ConsistencySolver(self._scheduler, config.lcm)

    def _compute_loss(self, module: Any, samples: Samples, texts: list[str], shard: BatchShard) -> Tensor:
        latents, noise, _ = self._draw(samples, shard)
        step, guidance = self._draw_steps(shard, latents.device)
        tables = self._solver.timesteps, self._solver.previous_timesteps
        start, end = (table.to(latents.device)[step] for table in tables)
        noisy = self._scheduler.add_noise(latents, noise, start)
        condition = self._condition(samples, texts, latents)

        def predict(noisy: Tensor, timesteps: Tensor, condition: dict[str, Any]) -> Tensor:
            prediction = module(noisy, timesteps.to(noisy.dtype), **condition, return_dict=False)[0]
            return prediction[:, : noisy.shape[1]].float()

        # Teacher and target come first, while no activations are kept for the backward pass.
        with torch.no_grad():
            with _without_lora(self._transformer):
                positive = predict(noisy, start, condition)
                negative = predict(noisy, start, self._condition(_without_image(samples), [""] * len(texts), latents))
            guided = positive + guidance.view(-1, *[1] * (latents.ndim - 1)) * (positive - negative)
            less_noisy = self._solver.take_ddim_step(noisy, guided, start, end)
            target = self._solver.predict_origin(less_noisy, predict(less_noisy, end, condition), end)
        # Some versions of PyTorch would reuse the 16-bit copies of weights that were made without gradients.
        torch.clear_autocast_cache()
        predicted = self._solver.predict_origin(noisy, predict(noisy, start, condition), start)
        return compute_consistency_loss(predicted, target, self._lcm)

    def _draw_steps(self, shard: BatchShard, device: torch.device) -> tuple[Tensor, Tensor]:
        """Indices of DDIM steps and guidance w, each [B], drawn for the whole batch; a process takes its rows."""
        generator = self._make_generator(shard, 1)
        steps = torch.randint(len(self._solver.timesteps), (shard.num_rows,), generator=generator)
        low, high = self._lcm.guidance
        guidance = low + (high - low) * torch.rand(shard.num_rows, generator=generator)
        return shard.take(steps).to(device), shard.take(guidance).to(device)


@contextmanager
def _without_lora(transformer: Any) -> Iterator[None]:
    """A context in which the transformer works without its LoRA."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


def _without_image(samples: Samples) -> Samples:
    """The samples without reference images."""
    return replace(samples, image={name: torch.zeros_like(value) for name, value in samples.image.items()})
