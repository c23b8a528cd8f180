"""Denoising as a training task: add noise to the latents of a batch, predict, compute the loss.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from easyanimate_core.model import Model, open_model
from easyanimate_core.shapes import LatentShape, PixelShape
from easyanimate_train.memory import advise, count_bytes, count_values, enable_gradient_checkpointing
from easyanimate_train.task import TrainableModel, ValidationResult
from torch import Tensor

from easyanimate_dit.sampling.conditioning import MetaSize
from easyanimate_dit.training.cache import Cache, fingerprint
from easyanimate_dit.training.frozen_models import FrozenModels
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target
from easyanimate_dit.training.sample import (
    CaptionEncoder,
    SampleEncoder,
    SampleLoader,
    Samples,
    find_folder,
    open_cache,
)
from easyanimate_dit.training.trainable_part import choose_part
from easyanimate_dit.training.validation import make_clips
from easyanimate_dit.training.variational import read_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset, TrainingBatch
    from easyanimate_train.stream import BatchShard

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DenoisingTask:
    """The training task of `ea train dit` and `ea train lora`; see `TrainingTask`.

    Args:
        config: Settings.
        pipeline: All components of the model, in float32; with mixed precision, frozen ones are converted to 16 bits.
        dataset: Batches of training data.
        model: What the pipeline was loaded of, for the clips of validation; None opens it when they are first made.
    """

    def __init__(
        self,
        config: DitTrainingConfig,
        pipeline: EasyAnimatePipeline,
        dataset: BatchedDataset,
        model: Model | None = None,
    ) -> None:
        self._model = model
        self._config, self._pipeline, self._parts = config, pipeline, pipeline.parts
        self._sampling: dict[str, Any] = {}  # settings of validation clips in place of the defaults of the weights
        self._part = choose_part(config)
        self._transformer: Any = pipeline.transformer.train()
        self._prepared = self._part.prepare(pipeline)
        if config.gradient_checkpointing:
            enable_gradient_checkpointing(self._transformer)
        self.trainable = {"transformer": TrainableModel(self._prepared.module, self._prepared.groups, config.optimizer)}
        self._frozen = FrozenModels(
            pipeline,
            keep_on_device=not config.low_vram,
            dtype=_HALF.get(config.mixed_precision),
            exclude=self._prepared.components,
        )
        self.frozen = self._frozen.modules
        cache = open_cache(config, pipeline)
        self.load = SampleLoader(dataset, cache)
        self._encoder = SampleEncoder(pipeline, config.task, cache)
        self._captions = CaptionEncoder(self._encode_caption, self._open_text_cache())
        self._scheduler: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._schedule = read_schedule(pipeline.scheduler.config) if config.loss == "variational" else None

    def move(self, device: torch.device, /) -> None:
        """See `TrainingTask`."""
        self._frozen.move(device)

    def describe(self, batch: Samples | TrainingBatch, /) -> str:
        """See `TrainingTask`."""
        if isinstance(batch, Samples):
            num, _, frames, height, width = batch.mean.shape
            latent = LatentShape(frames, height, width)
        else:
            num, *sizes = batch["frames"].shape[:4]
            latent = self._parts.codec.shapes.latent_shape(PixelShape(*sizes))
        pixels = self._parts.codec.shapes.pixel_shape(latent)
        latents = f"latents of {latent.num_frames} frames, {latent.height}x{latent.width}"
        return f"{num} clips of {pixels.num_frames} frames, {pixels.height}x{pixels.width}, {latents}"

    def compute(
        self, name: str, batch: Samples | TrainingBatch, shard: BatchShard, step: int, /
    ) -> Mapping[str, Tensor]:
        """The loss; see `TrainingTask`."""
        del step
        device = self._frozen.device
        if isinstance(batch, Samples):
            samples = batch.to(device)
        else:
            with self._frozen.on_device("vae", "image_encoder"):
                samples = self._encoder.encode(batch, shard.descriptions, device)
        texts = ["" if row.empty_text else text for row, text in zip(shard.descriptions, samples.captions, strict=True)]
        return {"loss": self._compute_loss(self.trainable[name].module, samples, texts, shard)}

    def _compute_loss(self, module: Any, samples: Samples, texts: list[str], shard: BatchShard) -> Tensor:
        """The loss of the module's prediction from noisy latents."""
        latents, noise, timesteps = self._draw(samples, shard)
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        arguments = self._condition(samples, texts, latents)
        prediction = module(noisy, timesteps.to(latents.dtype), **arguments, return_dict=False)[0]
        if self._schedule is not None:
            parts = self._schedule.compute_loss(
                prediction, latents=latents, noise=noise, index=timesteps, snr=self._config.snr
            )
            return parts.total.mean()
        target = make_target(self._scheduler, latents, noise, timesteps)
        return compute_loss(prediction, target, motion_sub_loss=self._config.motion_sub_loss)

    def _condition(self, samples: Samples, texts: list[str], latents: Tensor) -> dict[str, Any]:
        """Forward arguments beside the noisy latents and timesteps."""
        num, _, frames, height, width = latents.shape
        pixels = self._parts.codec.shapes.pixel_shape(LatentShape(frames, height, width))
        device = latents.device
        conditions: dict[str, Any] = {
            key: value.to(device) for key, value in self._captions.encode(texts).items()
        } | samples.image
        if self._parts.size is None:
            return {**conditions, **samples.given}
        conditions |= self._parts.size.encode(pixels, MetaSize(), num_videos=num, device=device, dtype=latents.dtype)
        tables = self._parts.size.make_tables(height, width, device=device)
        return {**conditions, **tables, **samples.given}

    def _draw(self, samples: Samples, shard: BatchShard) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, noise and timesteps, drawn for the whole batch; a process takes its rows."""
        generator, device = self._make_generator(shard), samples.mean.device
        shape = (shard.num_rows, *samples.mean.shape[1:])
        draw = shard.take(torch.randn(shape, generator=generator)).to(device)
        noise = shard.take(torch.randn(shape, generator=generator)).to(device)
        timesteps = draw_timesteps(
            self._config.timesteps,
            shard.num_rows,
            num_train_timesteps=self._scheduler.config.num_train_timesteps,
            generator=generator,
        )
        if self._config.noise_offset:
            # One value per channel lets the mean colour change (N. Guttenberg, "Diffusion with Offset Noise", 2023).
            offset = torch.randn((*shape[:2], 1, 1, 1), generator=generator)
            noise = noise + self._config.noise_offset * shard.take(offset).to(device)
        return samples.mean + samples.deviation * draw, noise, shard.take(timesteps).to(device)

    def _make_generator(self, shard: BatchShard, *stream: int) -> torch.Generator:
        """A generator for the batch of a shard, the same in every process; each stream has numbers of its own."""
        seed = np.random.SeedSequence((self._config.seed, shard.index, *stream)).generate_state(1)[0]
        return torch.Generator().manual_seed(int(seed))

    def _encode_caption(self, caption: str) -> dict[str, Tensor]:
        with self._frozen.on_device("text_encoder", "text_encoder_2"):
            return self._prepared.text.encode([caption], device=self._frozen.device, dtype=torch.float32)

    def _open_text_cache(self) -> Cache | None:
        if not self._config.cache or self._prepared.components:
            return None  # the states of a text encoder that is trained change
        pipeline = self._pipeline
        encoders = fingerprint([pipeline.text_encoder, pipeline.text_encoder_2])
        return Cache(find_folder(self._config, "text"), f"{self._config.model} {encoders}")

    def write(self, state: Mapping[str, Tensor], folder: Path, /) -> None:
        """See `TrainingTask`."""
        self._part.write(self._pipeline, state, folder)

    def validate(self, folder: Path, step: int, /) -> ValidationResult:
        """Generate the clips of `validation.prompts`; see `TrainingTask`."""
        del step
        config = self._config
        self._model = self._model or open_model(config.model, weights=config.weights)
        self._transformer.eval()
        with self._frozen.on_device("vae", "image_encoder", "text_encoder", "text_encoder_2"):
            found = make_clips(self._pipeline, self._model, config.validation, self._sampling, folder)
        self._transformer.train()
        return found

    def advise(self) -> Sequence[str]:
        """See `TrainingTask`."""
        (model,) = self.trainable.values()
        num = count_values(model.parameters)
        frozen = sum(count_bytes(module) for module in self._frozen.modules.values())
        config = self._config
        savings = {
            "--low-vram": 0 if config.low_vram else frozen,
            "--optimizer.kind adamw8bit": 6 * num if config.optimizer.kind == "adamw" else 0,
            "--mixed-precision bf16": frozen // 2 if config.mixed_precision == "no" else 0,
            "--ema-decay 0": 4 * num if config.ema_decay else 0,
        }
        lines = advise(savings)
        if not config.gradient_checkpointing:
            lines.insert(
                0, "--gradient-checkpointing keeps the activations of one block at a time instead of all blocks"
            )
        return [*lines, "a smaller --data.batch-size with --accumulate, --data.video-size or --data.num-frames"]
