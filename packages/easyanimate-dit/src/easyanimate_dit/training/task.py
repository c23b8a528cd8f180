"""Denoising as a training task: noise the latents of a batch, let the transformer predict, compare.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from easyanimate_core.shapes import LatentShape, PixelShape
from easyanimate_train.memory import advise, count_bytes, count_values
from easyanimate_train.task import Learner, Validation
from torch import Tensor

from easyanimate_dit.sampling.conditioning import MetaSize
from easyanimate_dit.training.cache import Cache, fingerprint
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target
from easyanimate_dit.training.sample import (
    CaptionEncoder,
    SampleEncoder,
    SampleReader,
    Samples,
    find_folder,
    open_cache,
)
from easyanimate_dit.training.trained_part import choose_part
from easyanimate_dit.training.validation import find_defaults, make_clips
from easyanimate_dit.training.variational import read_schedule
from easyanimate_dit.training.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset, TrainingBatch
    from easyanimate_core.request import Defaults
    from easyanimate_train.stream import Place

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DenoisingTask:
    """What `ea train dit` and `ea train lora` teach; see `TrainingTask`.

    Args:
        config: Settings.
        pipeline: Every part of the model, in float32; what is not trained is kept in 16 bits with mixed precision.
        dataset: The batches.
    """

    def __init__(self, config: DitTrainingConfig, pipeline: EasyAnimatePipeline, dataset: BatchedDataset) -> None:
        self._config, self._pipeline, self._parts = config, pipeline, pipeline.parts
        self._part = choose_part(config)
        self._transformer: Any = pipeline.transformer.train()
        self._trained = self._part.prepare(pipeline)
        if config.gradient_checkpointing:
            self._transformer.enable_gradient_checkpointing()
        self.learners = {"transformer": Learner(self._trained.module, self._trained.groups, config.optimizer)}
        self._frozen = Visitor(
            pipeline,
            stays=not config.low_vram,
            dtype=_HALF.get(config.mixed_precision),
            without=self._trained.roles,
        )
        self.frozen = self._frozen.modules
        cache = open_cache(config, pipeline)
        self.load = SampleReader(dataset, cache)
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
        patch = self._transformer.config.patch_size
        tokens = latent.num_frames * (latent.height // patch) * (latent.width // patch)
        return f"{num} clips of {pixels.num_frames} frames, {pixels.height}x{pixels.width}, {tokens:,} tokens each"

    def compute(self, name: str, batch: Samples | TrainingBatch, place: Place, step: int, /) -> Mapping[str, Tensor]:
        """The loss; see `TrainingTask`."""
        del step
        device = self._frozen.device
        if isinstance(batch, Samples):
            samples = batch.to(device)
        else:
            with self._frozen.visit("vae", "image_encoder"):
                samples = self._encoder.encode(batch, place.described, device)
        texts = ["" if row.empty_text else text for row, text in zip(place.described, samples.captions, strict=True)]
        return {"loss": self._compare(self.learners[name].module, samples, texts, place)}

    def _compare(self, module: Any, samples: Samples, texts: list[str], place: Place) -> Tensor:
        """The loss of what the module makes of noisy latents; what is random is drawn for the place."""
        latents, noise, timesteps = self._draw(samples, place)
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
        """Arguments of the forward pass beside the noisy latents."""
        num, _, frames, height, width = latents.shape
        pixels = self._parts.codec.shapes.pixel_shape(LatentShape(frames, height, width))
        device = latents.device
        conditions: dict[str, Any] = {
            key: value.to(device) for key, value in self._captions.encode(texts).items()
        } | samples.image
        conditions |= self._parts.size.encode(pixels, MetaSize(), num_videos=num, device=device, dtype=latents.dtype)
        tables = self._parts.size.make_tables(height, width, device=device)
        return {**conditions, **tables, **samples.given}

    def _draw(self, samples: Samples, place: Place) -> tuple[Tensor, Tensor, Tensor]:
        """A posterior sample, noise and timesteps: drawn for the whole batch, of which a process takes its part."""
        generator, device = self._make_generator(place), samples.mean.device
        shape = (place.num_rows, *samples.mean.shape[1:])
        draw = place.take(torch.randn(shape, generator=generator)).to(device)
        noise = place.take(torch.randn(shape, generator=generator)).to(device)
        timesteps = draw_timesteps(
            self._config.timesteps,
            place.num_rows,
            num_train_timesteps=self._scheduler.config.num_train_timesteps,
            generator=generator,
        )
        if self._config.noise_offset:
            # One number for a channel lets the mean colour change (N. Guttenberg, "Diffusion with Offset Noise", 2023).
            whole = torch.randn((*shape[:2], 1, 1, 1), generator=generator)
            noise = noise + self._config.noise_offset * place.take(whole).to(device)
        return samples.mean + samples.deviation * draw, noise, place.take(timesteps).to(device)

    def _make_generator(self, place: Place, *stream: int) -> torch.Generator:
        """Numbers of a place, the same in every process; those of other streams are others."""
        seed = np.random.SeedSequence((self._config.seed, place.index, *stream)).generate_state(1)[0]
        return torch.Generator().manual_seed(int(seed))

    def _encode_caption(self, caption: str) -> dict[str, Tensor]:
        with self._frozen.visit("text_encoder", "text_encoder_2"):
            return self._trained.text.encode([caption], device=self._frozen.device, dtype=torch.float32)

    def _open_text_cache(self) -> Cache | None:
        if not self._config.cache or self._trained.roles:
            return None  # what a text encoder that is trained says does not stay the same
        pipeline = self._pipeline
        made_by = fingerprint([pipeline.text_encoder, pipeline.text_encoder_2])
        return Cache(find_folder(self._config, "text"), f"{self._config.model} {made_by}")

    def write(self, state: Mapping[str, Tensor], folder: Path, /) -> None:
        """See `TrainingTask`."""
        self._part.write(self._pipeline, state, folder)

    def validate(self, folder: Path, step: int, /) -> Validation:
        """Make the clips of `validation.prompts`; see `TrainingTask`."""
        del step
        self._transformer.eval()
        with self._frozen.visit("vae", "image_encoder", "text_encoder", "text_encoder_2"):
            found = make_clips(self._pipeline, self._config.validation, self._choose_sampling(), folder)
        self._transformer.train()
        return found

    def _choose_sampling(self) -> Defaults:
        """How the clips of a validation are made."""
        return find_defaults(self._config)

    def advise(self) -> Sequence[str]:
        """See `TrainingTask`."""
        (learner,) = self.learners.values()
        num = count_values(learner.parameters)
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
            lines.insert(0, "--gradient-checkpointing keeps the activations of one block at a time instead of all")
        return [*lines, "a smaller --data.batch-size with --accumulate, --data.video-size or --data.num-frames"]
