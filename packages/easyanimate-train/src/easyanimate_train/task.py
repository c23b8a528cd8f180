"""What a trainer says to the loop: which modules learn, what a batch costs, and how the result is written."""

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
    from easyanimate_train.stream import Place


@dataclass
class Learner:
    """A module with what changes it.

    Args:
        module: The loop replaces it with the one that accelerate prepares.
        groups: The parameters that are trained, each group with its share of the learning rate.
        optimizer: Settings.
    """

    module: nn.Module
    groups: Sequence[tuple[float, list[nn.Parameter]]]
    optimizer: OptimizerConfig

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that are trained."""
        return [parameter for _, group in self.groups for parameter in group]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Args:
        values: Numbers for the log.
        videos: Clips for the tracker, by name: uint8 [T, H, W, 3].
        fps: Their frames per second.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    videos: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict[str, Any])
    fps: float = 8.0


class TrainingTask(Protocol):
    """What a trainer learns. The first learner is the one whose weights are kept."""

    learners: dict[str, Learner]

    load: Callable[[Any, Place], Any]
    """Reads what this process takes of a batch. It runs in the workers, so it holds no model and can be pickled."""

    @property
    def frozen(self) -> Mapping[str, nn.Module]:
        """What works beside the learners and is not trained."""
        ...

    def describe(self, batch: Any, /) -> str:
        """What was read, in a line: clips, sizes, tokens."""
        ...

    def compute(self, name: str, batch: Any, place: Place, step: int, /) -> Mapping[str, Tensor]:
        """Numbers of a batch, of which "loss" is what the learner of this name shall lower.

        Noise and what else is random is a function of the seed and the place.
        """
        ...

    def move(self, device: torch.device, /) -> None:
        """Bring what is not trained to the device, or keep it away from there until it is used."""
        ...

    def write(self, state: Mapping[str, Tensor], folder: Path, /) -> None:
        """Write weights that `ea run` loads, from the whole state of the first learner; the main process calls it."""
        ...

    def validate(self, folder: Path, step: int, /) -> Validation:
        """Judge the first learner as it is; files go into the folder."""
        ...

    def advise(self) -> Sequence[str]:
        """What would save memory, a line each, when it did not suffice."""
        ...
