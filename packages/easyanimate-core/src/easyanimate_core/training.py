"""What every trainer shares: settings of data and optimiser, the command's options, the progress line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import TYPE_CHECKING, Any, TextIO

from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.interfaces import VideoDataset
    from easyanimate_core.run_folder import RunFolder
    from easyanimate_core.spec import Progress


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where clips come from.

    Args:
        kind: Key of a dataset plugin ("shapes", "json").
        path: File or folder, for kinds that read one.
        options: Passed to the dataset.
        batches: Batches used in turn, each [clips, frames]; 1 frame trains on images. Processes share a batch.
    """

    kind: str = "json"
    path: Path | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    batches: tuple[tuple[int, ...], ...] = ((1, 16),)

    def open(self) -> VideoDataset:
        """The dataset."""
        options = dict(self.options)
        if self.path is not None:
            options["path"] = self.path
        dataset = load_plugins().dataset(self.kind).load(**options)
        if not len(dataset):
            raise RequestError("The dataset is empty.", received=self.path or self.kind, expected="at least one item")
        return dataset


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning rate: linear warm-up, a flat part, then a linear fall to 2 %.

    Args:
        learning_rate: The flat part's.
        warmup_steps: Steps of the warm-up.
        flat_share: Share of the run before the fall begins.
        betas: Of AdamW.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 100
    flat_share: float = 0.5
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0

    def factor(self, step: int, max_steps: int) -> float:
        """Learning rate of a step over the flat part's."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        flat = self.flat_share * max_steps
        return 1.0 if step < flat else max(0.02, (max_steps - step) / max(max_steps - flat, 1))


def list_overrides(options: Mapping[str, Any], settings: list[str] | None) -> list[str]:
    """Options of a train command that were given, and its `--set` words, as words for `read_config`."""
    return [f"{name}={value}" for name, value in options.items() if value is not None] + list(settings or ())


def refuse_divergence(values: Mapping[str, float], step: int, folder: RunFolder) -> None:
    """Stop a run whose loss is no longer a number, naming the last good checkpoint."""
    if math.isfinite(values["loss"]):
        return
    newest = folder.newest
    raise RequestError(
        "The loss is no longer a number.",
        received=f"{dict(values)} at step {step}",
        fix=f"lower optimizer.learning_rate; the last good checkpoint is {newest[1] if newest else 'none'}",
    )


class ProgressLine:
    """Writes step, loss and time left, a line at a time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._phase: tuple[str, int] | None = None
        self._begin = (0, 0.0)

    def __call__(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Write one line."""
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        line = f"{progress.phase} {progress.step}/{progress.total}  {numbers}"
        if self._phase != (progress.phase, progress.total):
            self._phase, self._begin = (progress.phase, progress.total), (progress.step, time.monotonic())
        elif progress.step > self._begin[0]:
            pace = (time.monotonic() - self._begin[1]) / (progress.step - self._begin[0])
            line += f"  {pace * (progress.total - progress.step) / 60:.1f} min left"
        self._file.write(line + "\n")
        self._file.flush()
