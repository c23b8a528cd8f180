"""What a trainer gives the loop: trainable and frozen models, the loss of a batch, and how weights are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor, nn

    from easyanimate_train.config import OptimizerConfig
    from easyanimate_train.stream import BatchShard


@dataclass
class TrainableModel:
    """A module with the parameters of it that are trained.

    Args:
        module: The loop replaces it with the module that accelerate prepares.
        groups: Parameter groups: a factor of the learning rate, and its parameters.
        optimizer: Settings of the optimiser.
    """

    module: nn.Module
    groups: Sequence[tuple[float, list[nn.Parameter]]]
    optimizer: OptimizerConfig

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of all groups."""
        return [parameter for _, group in self.groups for parameter in group]


@dataclass(frozen=True)
class ValidationResult:
    """What a validation measured and made.

    Args:
        values: Numbers for the log.
        videos: Clips for the tracker, by name: uint8 [T, H, W, 3].
        fps: Frames per second of the clips.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    videos: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict[str, Any])
    fps: float = 8.0


class TrainingTask(Protocol):
    """What is trained, and how."""

    trainable: dict[str, TrainableModel]
    """The trainable models by name. The weights of the first one are the result of the training."""

    load: Callable[[Any, BatchShard], Any]
    """Loads the rows of a batch that this process takes. Runs in workers: it can be pickled, and holds no model."""

    @property
    def frozen(self) -> Mapping[str, nn.Module]:
        """The models that are used but not trained, by name."""
        ...

    def describe(self, batch: Any, /) -> str:
        """A loaded batch in one line: number of clips, sizes, tokens."""
        ...

    def compute(self, name: str, batch: Any, shard: BatchShard, step: int, /) -> Mapping[str, Tensor]:
        """Compute the loss of a trainable model on a batch.

        Noise and other random values are functions of the seed and of the shard's position alone.

        Args:
            name: The trainable model.
            batch: What `load` returned.
            shard: The rows that were loaded, and the position of the batch in the run.
            step: Optimiser steps taken before.

        Returns:
            "loss", which is minimised, and further numbers for the log.
        """
        ...

    def move(self, device: torch.device, /) -> None:
        """Move the frozen models to the device, or prepare to move each while it is used."""
        ...

    def write(self, state: Mapping[str, Tensor], folder: Path, /) -> None:
        """Write weights that `ea run` loads; the main process calls it.

        Args:
            state: The whole state dict of the first trainable model.
            folder: Where to write.
        """
        ...

    def validate(self, folder: Path, step: int, /) -> ValidationResult:
        """Validate the first trainable model as it is, and write clips to the folder."""
        ...

    def advise(self) -> Sequence[str]:
        """Settings that would save memory, a line each, for when it runs out."""
        ...
