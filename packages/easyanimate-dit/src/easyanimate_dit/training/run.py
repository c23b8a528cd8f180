"""Training of the video transformer, or of a LoRA on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from easyanimate_train.loop import train

from easyanimate_dit.training.config import LoraTrainingConfig
from easyanimate_dit.training.lcm_task import LcmTask
from easyanimate_dit.training.task import DenoisingTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset
    from easyanimate_core.model import Model
    from easyanimate_core.request import Progress

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig


def train_dit(  # noqa: PLR0913 (keyword-only)
    config: DitTrainingConfig,
    pipeline: EasyAnimatePipeline,
    dataset: BatchedDataset | None = None,
    *,
    model: Model | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train the pipeline's transformer, or with a `LoraTrainingConfig` a LoRA on it, and write it to `out/weights`.

    Args:
        config: Settings.
        pipeline: All components of the model, in float32.
        dataset: Batches of training data; None opens `config.data`.
        model: See `DenoisingTask`.
        resume: Resume from the newest checkpoint.
        on_progress: Called at every logged step with its numbers.

    Returns:
        The folder of the weights.

    Raises:
        RequestError: The loss diverges, memory runs out, or the output folder holds another run.
    """
    batches = open_dataset(config, pipeline) if dataset is None else dataset
    task = prepare_task(config, pipeline, batches, model)
    return train(task, config, batches, resume=resume, on_progress=on_progress)


def open_dataset(config: DitTrainingConfig, pipeline: EasyAnimatePipeline) -> BatchedDataset:
    """Open the training data that the settings ask for."""
    return config.data.open(seed=config.seed, chunk_frames=pipeline.parts.codec.shapes.chunk_frames)


def prepare_task(
    config: DitTrainingConfig, pipeline: EasyAnimatePipeline, dataset: BatchedDataset, model: Model | None = None
) -> DenoisingTask:
    """Make the training task; fresh weights and those of a LoRA are drawn from the seed."""
    torch.manual_seed(config.seed)
    if config.fresh:
        pipeline.register_modules(transformer=type(pipeline.transformer).from_config(pipeline.transformer.config))
    if isinstance(config, LoraTrainingConfig) and config.lcm.enabled:
        return LcmTask(config, pipeline, dataset, model)
    return DenoisingTask(config, pipeline, dataset, model)
