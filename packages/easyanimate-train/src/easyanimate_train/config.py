"""Settings that all trainers share: data, optimiser, length of the run, checkpoints and logs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from easyanimate_core.config import read_options
from easyanimate_core.dataset import Batchable, BatchRule
from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import NOT_NEGATIVE, POSITIVE, SHARE, Range, check_ranges
from easyanimate_core.registry import load_plugins

from easyanimate_train.cycled import CycledBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from easyanimate_core.dataset import BatchedDataset


@dataclass(frozen=True, kw_only=True)
class DataConfig(BatchRule):
    """Training data, and how it is batched; see `BatchRule` for the sizes.

    Args:
        kind: Kind of dataset: "json" reads a dataset file, "shapes" generates clips, plugins offer more.
        path: Dataset file, or its folder.
        options: Further options of the dataset, as its kind takes them.
        strict: Stop when a row of the dataset cannot be used, instead of reporting and skipping it.
        workers: Worker processes that load batches ahead; 0 loads them in the training process.
    """

    kind: str = "json"
    path: Path | None = field(default=None, metadata={"option": "--data"})
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    strict: bool = field(default=False, metadata={"option": "--strict"})
    workers: Annotated[int, Range(0, 256)] = 0

    def open(self, *, seed: int, chunk_frames: int = 1) -> BatchedDataset:
        """Open the dataset, in batches.

        Args:
            seed: Seed of the order, and of all other random choices about a batch.
            chunk_frames: Frames that the VAE encodes at a time, used where the settings have none.

        Raises:
            RequestError: There is no data, or the dataset does not take the options.
        """
        load, options = self._find()
        dataset = load(**options)
        if isinstance(dataset, Batchable):
            return dataset.batched(self.rule(chunk_frames), seed=seed)
        if not len(dataset):
            raise RequestError("The dataset is empty.", received=self.path or self.kind, expected="at least one item")
        return CycledBatches(dataset, self, seed=seed)

    def check(self) -> None:
        """Refuse data that is not there, and options that it does not take, before anything is loaded.

        Raises:
            RequestError: Saying which.
        """
        self._find()
        if self.path is not None and not (os.path.isfile(self.path) or os.path.isdir(self.path)):  # noqa: PTH112, PTH113
            raise RequestError(
                "There is no such training data.",
                received=self.path,
                expected="a dataset file, or its folder",
                fix="give another: --data",
            )

    def _find(self) -> tuple[Callable[..., Any], dict[str, Any]]:
        """What opens the dataset, and with which options."""
        options = dict(self.options)
        if self.path is not None:
            options["path"] = self.path
        if self.kind == "json":
            if self.path is None:
                raise RequestError("No training data is given.", expected="--data PATH, a dataset file or its folder")
            options["strict"] = self.strict
        load = load_plugins().dataset(self.kind).load
        return load, read_options(load, options, "data.options")

    def rule(self, chunk_frames: int) -> BatchRule:
        """The batch rule alone, with the VAE's chunk where the settings have none."""
        values = {name: getattr(self, name) for name in BatchRule.__dataclass_fields__}
        if self.chunk_frames is None:
            values["chunk_frames"] = chunk_frames
        return BatchRule(**values)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimiser, learning rate schedule and gradient clipping.

    Args:
        kind: Optimiser: AdamW, AdamW with an 8-bit state of a quarter of the memory (package bitsandbytes), or CAME
            with a still smaller state (package came_pytorch). CAME: Luo et al., arXiv 2307.02047.
        learning_rate: Highest learning rate of the run.
        schedule: Learning rate after the warm-up: "constant" stays, "linear" and "cosine" fall to 0, "flat" stays for
            `flat_share` of the run and then falls linearly to 2 %.
        warmup_steps: Steps in which the learning rate rises linearly from 0.
        flat_share: Share of the run in which the schedule "flat" stays at the highest learning rate.
        betas: Decay rates of the optimiser's moving averages: two for AdamW, three for CAME.
        epsilon: Term that AdamW adds to the denominator for numerical stability.
        weight_decay: Decoupled weight decay.
        max_grad_norm: Norm that gradients are clipped to.
        first_norm_ratio: Clip to this many times `max_grad_norm` at first, falling linearly to it within
            `abnormal_after` steps.
        abnormal_after: Step after which gradient norms above 5 times the limit are clipped further, by up to a factor
            of 10. 0 turns that and `first_norm_ratio` off.
    """

    kind: Literal["adamw", "adamw8bit", "came"] = "adamw"
    learning_rate: Annotated[float, NOT_NEGATIVE] = 1e-4
    schedule: Literal["constant", "linear", "cosine", "flat"] = "flat"
    warmup_steps: Annotated[int, NOT_NEGATIVE] = 100
    flat_share: Annotated[float, SHARE] = 0.5
    betas: Annotated[tuple[float, ...], Range(0, below=1)] = (0.9, 0.999)
    epsilon: Annotated[float, POSITIVE] = 1e-8
    weight_decay: Annotated[float, NOT_NEGATIVE] = 0.01
    max_grad_norm: Annotated[float, POSITIVE] = 1.0
    first_norm_ratio: Annotated[float, POSITIVE] = 1.0
    abnormal_after: Annotated[int, NOT_NEGATIVE] = 0

    def __post_init__(self) -> None:
        """Refuse values that no optimiser takes."""
        check_ranges(self, "optimizer.")
        count = 3 if self.kind == "came" else 2
        if len(self.betas) != count:
            raise RequestError(
                f"optimizer.betas must be {count} numbers for {self.kind}.",
                received=self.betas,
                expected=f"{count} numbers, each at least 0 and below 1",
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a training run.

    Args:
        out: Output folder of the run.
        data: Training data, and how it is batched.
        optimizer: Optimiser, learning rate schedule and gradient clipping.
        ema_decay: Decay of the exponential moving average of the weights, which is then what is saved (0: no average).
        max_steps: Length of the run in optimiser steps.
        accumulate: Batches whose gradients are accumulated for one optimiser step.
        checkpoint_every: Optimiser steps between checkpoints.
        keep_checkpoints: Number of checkpoints to keep, the newest ones.
        log_every: Optimiser steps between lines of the loss log.
        validate_every: Optimiser steps between validations (0: no validation).
        mixed_precision: Number format of the computation under autocast; trainable parameters stay in float32.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        low_vram: Keep frozen models on the CPU, and move each to the GPU only while it is used.
        tracker: Experiment tracker that the log is drawn in.
        seed: Seed of data order, noise, timesteps and fresh weights.
    """

    out: Path
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: Annotated[float, Range(0, below=1)] = 0.0
    max_steps: Annotated[int, Range(1)] = 10_000
    accumulate: Annotated[int, Range(1)] = 1
    checkpoint_every: Annotated[int, Range(1)] = 500
    keep_checkpoints: Annotated[int, Range(1)] = 2
    log_every: Annotated[int, Range(1)] = 20
    validate_every: Annotated[int, NOT_NEGATIVE] = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    low_vram: bool = False
    tracker: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        check_ranges(self)
