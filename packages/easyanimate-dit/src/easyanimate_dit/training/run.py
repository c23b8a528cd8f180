"""The training loop of the video transformer.

Axes: B samples, C channels, t latent frames, h, w latent rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from easyanimate_core.run_folder import RunFolder
from easyanimate_core.shapes import LatentShape
from easyanimate_core.spec import Progress
from easyanimate_core.training import refuse_divergence
from torch import Tensor

from easyanimate_dit.conditioning import MetaSize
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target
from easyanimate_dit.training.sample import CaptionEncoder, SampleEncoder, Samples
from easyanimate_dit.training.trained_part import choose_part
from easyanimate_dit.training.variational import read_schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from easyanimate_core.interfaces import VideoDataset

    from easyanimate_dit.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig


class BatchSource:
    """The batch of every step: a function of the seed and the step, so that a resumed run sees the same."""

    def __init__(
        self,
        config: DitTrainingConfig,
        pipeline: EasyAnimatePipeline,
        dataset: VideoDataset,
        report: Callable[[Progress, dict[str, float]], None] | None,
    ) -> None:
        self._config = config
        self._encoder = SampleEncoder(pipeline, dataset, config.task, seed=config.seed)
        self._num_items = min(len(dataset), config.cache_items or len(dataset))
        self._cached: dict[int, Samples] = {}
        if config.cache_items:
            for num_frames in sorted({num_frames for _, num_frames in config.data.batches}):
                self._cached[num_frames] = self._encoder.encode(
                    list(range(self._num_items)), num_frames, self._reporter(report, num_frames)
                )

    def load(self, step: int, *, rank: int, num_ranks: int) -> Samples:
        """The part of a step's batch that one process takes, some captions dropped."""
        num, num_frames = self._config.data.batches[step % len(self._config.data.batches)]
        rng = np.random.default_rng((self._config.seed, step))
        rows = rng.integers(self._num_items, size=num).tolist()[rank::num_ranks]
        dropped = (rng.random(num) < self._config.task.empty_caption_share)[rank::num_ranks]
        cached = self._cached.get(num_frames)
        samples = cached.pick(rows) if cached is not None else self._encoder.encode(rows, num_frames)
        captions = ["" if drop else text for drop, text in zip(dropped, samples.captions, strict=True)]
        return Samples(samples.mean, samples.deviation, captions, samples.given, samples.image)

    def _reporter(
        self, report: Callable[[Progress, dict[str, float]], None] | None, num_frames: int
    ) -> Callable[[int], None] | None:
        if report is None:
            return None

        def tell(done: int) -> None:
            if done % 200 == 0:
                report(Progress("encode", done, self._num_items), {"frames": num_frames})

        return tell


def train_dit(
    config: DitTrainingConfig,
    pipeline: EasyAnimatePipeline,
    dataset: VideoDataset,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress, dict[str, float]], None] | None = None,
) -> Path:
    """Train the pipeline's transformer and write it to `out/weights`, a folder for the transformer's place.

    With a `LoraTrainingConfig` the transformer gets a LoRA, which alone is trained and written there.

    Raises:
        RequestError: When the loss is no longer finite, or the output folder holds another run.
    """
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    set_seed(config.seed)
    part = choose_part(config)
    transformer = pipeline.transformer.train()
    parameters = part.prepare(transformer)
    folder = RunFolder(
        config.out,
        config,
        resume=resume,
        is_main=accelerator.is_main_process,
        wait=accelerator.wait_for_everyone,
    )
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.optimizer.learning_rate,
        betas=(config.optimizer.betas[0], config.optimizer.betas[1]),
        weight_decay=config.optimizer.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: config.optimizer.factor(step, config.max_steps)
    )
    average = EMAModel(parameters, decay=config.ema_decay, use_ema_warmup=True, power=0.75)
    batches = BatchSource(config, pipeline, dataset, on_progress)
    task = DenoisingTask(config, pipeline)
    prepared, optimizer = accelerator.prepare(transformer, optimizer)
    accelerator.register_for_checkpointing(schedule, average)
    step = 0
    if resume and folder.newest:
        step, state = folder.newest
        part.load_state(accelerator, state)
        folder.cut_log(step)
    while step < config.max_steps:
        samples = batches.load(step, rank=accelerator.process_index, num_ranks=accelerator.num_processes)
        loss = task.compute(
            prepared, samples, step, rank=accelerator.process_index, num_ranks=accelerator.num_processes
        )
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, config.optimizer.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if config.ema_decay:
            average.step(parameters)
        step += 1
        if step % config.log_every == 0 or step == config.max_steps:
            mean: Any = accelerator.reduce(loss.detach(), "mean")
            values = {"loss": float(mean), "lr": schedule.get_last_lr()[0]}
            refuse_divergence(values, step, folder)
            folder.log(step=step, **values)
            if on_progress and accelerator.is_main_process:
                on_progress(Progress("train", step, config.max_steps), values)
        if step % config.checkpoint_every == 0 or step == config.max_steps:
            folder.save(step, lambda path: part.save_state(accelerator, path))
    if config.ema_decay:
        average.copy_to(parameters)
    is_main = accelerator.is_main_process
    return folder.save_final(lambda path: part.write(accelerator.unwrap_model(prepared), path, is_main=is_main))


class DenoisingTask:
    """One forward pass: noise the latents, let the transformer predict, compare."""

    def __init__(self, config: DitTrainingConfig, pipeline: EasyAnimatePipeline) -> None:
        self._config = config
        self._parts = pipeline.parts
        self._captions = CaptionEncoder(pipeline)
        self._scheduler: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._schedule = read_schedule(pipeline.scheduler.config) if config.loss == "variational" else None

    def compute(self, transformer: Any, samples: Samples, step: int, *, rank: int, num_ranks: int) -> Tensor:
        """The loss of a process' part of a batch; noise and timesteps are a function of the seed and the step."""
        latents, noise, timesteps = self._draw(samples, step, rank, num_ranks)
        device = latents.device
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        num, _, frames, height, width = latents.shape
        pixels = self._parts.codec.shapes.pixel_shape(LatentShape(frames, height, width))
        conditions: dict[str, Any] = self._captions.encode(samples.captions) | samples.image
        conditions |= self._parts.size.encode(pixels, MetaSize(), num_videos=num, device=device, dtype=latents.dtype)
        tables = self._parts.size.make_tables(height, width, device=device)
        prediction = transformer(
            noisy, timesteps.to(latents.dtype), **conditions, **tables, **samples.given, return_dict=False
        )[0]
        if self._schedule is not None:
            return self._schedule.compute_loss(prediction, latents=latents, noise=noise, index=timesteps).total.mean()
        target = make_target(self._scheduler, latents, noise, timesteps)
        return compute_loss(prediction, target, motion_sub_loss=self._config.motion_sub_loss)

    def _draw(self, samples: Samples, step: int, rank: int, num_ranks: int) -> tuple[Tensor, Tensor, Tensor]:
        """A posterior sample, noise and timesteps: drawn for the whole batch, of which a process takes its part."""
        seed = int(np.random.SeedSequence((self._config.seed, step)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        device = samples.mean.device
        num = self._config.data.batches[step % len(self._config.data.batches)][0]
        shape = (num, *samples.mean.shape[1:])
        draw = torch.randn(shape, generator=generator)[rank::num_ranks].to(device)
        noise = torch.randn(shape, generator=generator)[rank::num_ranks].to(device)
        timesteps = draw_timesteps(
            self._config.timesteps,
            num,
            num_train_timesteps=self._scheduler.config.num_train_timesteps,
            generator=generator,
        )[rank::num_ranks]
        return samples.mean + samples.deviation * draw, noise, timesteps.to(device)
