"""Training of the VAE."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from easyanimate_train.loop import train

from easyanimate_vae.training.start import build_vae
from easyanimate_vae.training.task import ReconstructionTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset
    from easyanimate_core.request import Progress

    from easyanimate_vae.training.config import VaeTrainingConfig


def train_vae(
    config: VaeTrainingConfig,
    dataset: BatchedDataset | None = None,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a VAE and write it to `out/weights/vae`, a folder for the VAE's place in a model.

    Args:
        config: Settings.
        dataset: The batches; None opens `config.data`.
        resume: Go on from the newest checkpoint.
        on_progress: Told of the steps that are logged.

    Raises:
        RequestError: When the loss is no longer finite, memory does not suffice, or the folder holds another run.
        WeightsError: When the weights to start from cannot be had.
    """
    task, batches = prepare_task(config, dataset)
    return train(task, config, batches, resume=resume, on_progress=on_progress)


def prepare_task(
    config: VaeTrainingConfig, dataset: BatchedDataset | None = None
) -> tuple[ReconstructionTask, BatchedDataset]:
    """What is learnt, and the batches; fresh weights are drawn from the seed."""
    vae = build_vae(config)
    chunk_frames = find_chunk(config, vae)
    batches = config.data.open(seed=config.seed, chunk_frames=chunk_frames) if dataset is None else dataset
    validation = _open_validation(config, chunk_frames) if config.validate_every else None
    return ReconstructionTask(config, vae, batches, validation), batches


def find_chunk(config: VaeTrainingConfig, vae: Any) -> int:
    """Frames that the VAE codes at a time, where the settings do not say: clips are cut to whole chunks."""
    return vae.settings.mini_batch_encoder if config.kind == "video" else 1


def _open_validation(config: VaeTrainingConfig, chunk_frames: int) -> BatchedDataset:
    own = config.validation
    data = dataclasses.replace(
        config.data, path=own.path or config.data.path, options={**config.data.options, **own.options}
    )
    # Another seed, so that clips are at other places even in the same data.
    return data.open(seed=config.seed + 1, chunk_frames=chunk_frames)
