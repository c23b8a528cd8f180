"""Settings that every trainer has: data, optimiser, length of the run, what is written on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import TYPE_CHECKING, Any, Literal

from easyanimate_core.dataset import Batchable, BatchRule
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins

from easyanimate_train.cycled import CycledBatches

if TYPE_CHECKING:
    from easyanimate_core.dataset import BatchedDataset


@dataclass(frozen=True, kw_only=True)
class DataConfig(BatchRule):
    """Where clips come from, and what batches are made of them; see `BatchRule` for the sizes.

    Args:
        kind: Key of a dataset plugin ("shapes", "json").
        path: File or folder, for kinds that read one.
        options: Passed to the dataset.
        strict: Stop when a row of the dataset cannot be used; else it is named, left out and counted.
        workers: Processes that read ahead; 0 reads between the steps.
    """

    kind: str = "json"
    path: Path | None = field(default=None, metadata={"option": "--data"})
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    strict: bool = field(default=False, metadata={"option": "--strict"})
    workers: int = 0

    def open(self, *, seed: int, chunk_frames: int = 1) -> BatchedDataset:
        """The dataset, in batches.

        Args:
            seed: Of the order, and of what is drawn at random about a batch.
            chunk_frames: Frames that the VAE codes at a time, where the settings do not say.
        """
        options = dict(self.options)
        if self.path is not None:
            options["path"] = self.path
        if self.kind == "json":
            if self.path is None:
                raise RequestError("There is no training data.", expected="--data PATH, a dataset or its folder")
            options["strict"] = self.strict
        try:
            dataset = load_plugins().dataset(self.kind).load(**options)
        except TypeError as error:
            raise RequestError(
                f"The data of kind {self.kind} does not take these options.",
                received=f"{', '.join(map(str, options))} ({error})",
                fix="see data.options",
            ) from error
        if isinstance(dataset, Batchable):
            return dataset.batched(self.rule(chunk_frames), seed=seed)
        if not len(dataset):
            raise RequestError("The dataset is empty.", received=self.path or self.kind, expected="at least one item")
        return CycledBatches(dataset, self, seed=seed)

    def rule(self, chunk_frames: int) -> BatchRule:
        """The sizes alone, with the model's chunk where the settings have none."""
        values = {name: getattr(self, name) for name in BatchRule.__dataclass_fields__}
        if self.chunk_frames is None:
            values["chunk_frames"] = chunk_frames
        return BatchRule(**values)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are changed.

    Args:
        kind: "adamw"; "adamw8bit", whose state takes a quarter of the memory (bitsandbytes); "came" (Luo et al., arXiv
            2307.02047), whose state is smaller still.
        learning_rate: The highest.
        schedule: After the warm-up: "constant"; "linear" or "cosine" fall to 0; "flat" stays for `flat_share` of the
            run and then falls to 2 % in a line.
        warmup_steps: Steps in which the learning rate rises in a line.
        flat_share: Of "flat".
        betas: Decay of the averages: two for AdamW, three for CAME.
        epsilon: Of AdamW.
        weight_decay: Decoupled.
        max_grad_norm: Gradients are clipped to this norm.
        first_norm_ratio: The norm that gradients are clipped to falls in a line from this many times `max_grad_norm`
            in the first `abnormal_after` steps.
        abnormal_after: Past this step, a norm over 5 times the limit is abnormal and clipped further, up to 10 times.
            0 turns that and `first_norm_ratio` off.
    """

    kind: Literal["adamw", "adamw8bit", "came"] = "adamw"
    learning_rate: float = 1e-4
    schedule: Literal["constant", "linear", "cosine", "flat"] = "flat"
    warmup_steps: int = 100
    flat_share: float = 0.5
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    first_norm_ratio: float = 1.0
    abnormal_after: int = 0

    def __post_init__(self) -> None:
        """Refuse what no optimiser takes."""
        if self.learning_rate < 0 or self.max_grad_norm <= 0 or self.warmup_steps < 0:
            raise RequestError(
                "The optimiser's settings are out of range.",
                received=f"learning_rate {self.learning_rate}, max_grad_norm {self.max_grad_norm}, "
                f"warmup_steps {self.warmup_steps}",
                expected="learning_rate 0 or more, max_grad_norm above 0, warmup_steps 0 or more",
            )
        count = 3 if self.kind == "came" else 2
        if len(self.betas) != count or not all(0 <= beta < 1 for beta in self.betas):
            raise RequestError(
                f"optimizer.betas of {self.kind} are {count} numbers.", received=self.betas, expected="each from 0 to 1"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run is determined by.

    Args:
        out: Output folder.
        data: The training clips.
        optimizer: How weights are changed.
        ema_decay: Decay of the averaged weights, which are the ones that are kept; 0 keeps the last.
        max_steps: Length of the run in optimiser steps.
        accumulate: Batches of one step.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: The newest that stay.
        log_every: Steps between lines of the loss log.
        validate_every: Steps between validations; 0 validates never.
        mixed_precision: "no", "bf16" or "fp16".
        gradient_checkpointing: Compute activations again in the backward pass: less memory, a third more time.
        low_vram: What is not trained is on the GPU only while it works.
        tracker: Where losses are drawn, beside the log file: "tensorboard", "trackio" or "wandb"; "none".
        seed: Of data order, noise, timesteps and fresh weights.
    """

    out: Path
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: float = 0.0
    max_steps: int = 10_000
    accumulate: int = 1
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    log_every: int = 20
    validate_every: int = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    low_vram: bool = False
    tracker: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        for name in ("max_steps", "accumulate", "checkpoint_every", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name} is too small.", received=getattr(self, name), expected="1 or more")
        if not 0 <= self.ema_decay < 1:
            raise RequestError("ema_decay is a share.", received=self.ema_decay, expected="0 up to below 1")
        if self.seed < 0 or self.validate_every < 0:
            raise RequestError(
                "A setting is negative.",
                received=f"seed {self.seed}, validate_every {self.validate_every}",
                expected=">= 0",
            )
