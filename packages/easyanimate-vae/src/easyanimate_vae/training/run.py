"""Training of the VAE, from Python."""

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
    """Train a VAE and write it to `out/weights/vae`, as a folder of weights has it.

    Args:
        config: Settings.
        dataset: Batches of training data; None opens `config.data`.
        resume: Resume from the newest checkpoint.
        on_progress: Called at every logged step with its numbers.

    Returns:
        The folder of the weights.

    Raises:
        RequestError: The loss diverges, memory runs out, or the output folder holds another run.
        WeightsError: The weights to start from are missing or do not fit.
    """
    task, batches = prepare_task(config, dataset)
    return train(task, config, batches, resume=resume, on_progress=on_progress)


def prepare_task(
    config: VaeTrainingConfig, dataset: BatchedDataset | None = None
) -> tuple[ReconstructionTask, BatchedDataset]:
    """Make the training task and open the data; fresh weights are drawn from the seed."""
    vae = build_vae(config)
    chunk_frames = find_chunk(config, vae)
    batches = config.data.open(seed=config.seed, chunk_frames=chunk_frames) if dataset is None else dataset
    validation = _open_validation(config, chunk_frames) if config.validate_every else None
    return ReconstructionTask(config, vae, batches, validation), batches


def find_chunk(config: VaeTrainingConfig, vae: Any) -> int:
    """Frames that the VAE encodes at a time, where the settings do not say; clips are cut to whole chunks."""
    return vae.settings.mini_batch_encoder if config.kind == "video" else 1


def _open_validation(config: VaeTrainingConfig, chunk_frames: int) -> BatchedDataset:
    own = config.validation
    data = dataclasses.replace(
        config.data, path=own.path or config.data.path, options={**config.data.options, **own.options}
    )
    # Another seed, so that clips differ even where the data is the same.
    return data.open(seed=config.seed + 1, chunk_frames=chunk_frames)
