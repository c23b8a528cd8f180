"""`ea train plan`: memory, sizes and time of a training, measured on its first steps; nothing is written."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from easyanimate_core.machine import format_bytes
from rich.console import Console
from rich.table import Table

from easyanimate_train.loop import TrainingRun
from easyanimate_train.memory import count_bytes, count_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easyanimate_core.dataset import BatchedDataset

    from easyanimate_train.config import RunConfig
    from easyanimate_train.task import TrainingTask

Config = TypeVar("Config", bound="RunConfig")

STEPS = 3
"""Steps that are measured, after one to warm up."""


@contextmanager
def redirect_output(config: Config) -> Iterator[Config]:
    """The settings with a temporary output folder, because tasks may write beside the run, such as a cache."""
    with tempfile.TemporaryDirectory() as folder:
        yield dataclasses.replace(config, out=Path(folder) / "trial")


def print_plan(task: TrainingTask, config: RunConfig, dataset: BatchedDataset) -> None:
    """Print memory by part, sizes of the first batches, number of steps and time per step."""
    table = Table(show_header=False, box=None)
    for name, value in measure(task, config, dataset):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def measure(task: TrainingTask, config: RunConfig, dataset: BatchedDataset) -> list[tuple[str, str]]:
    """Take a few steps, and give the rows of the plan: name and value."""
    with tempfile.TemporaryDirectory() as folder:
        length = max(config.max_steps, STEPS + 1)
        trial = dataclasses.replace(config, out=Path(folder) / "trial", tracker="none", max_steps=length)
        run = TrainingRun(task, trial, dataset)
        seen: list[str] = []

        def watch() -> Iterator[Any]:
            for shard, batch in run.stream:
                seen.append(task.describe(batch))
                yield shard, batch

        batches = watch()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        run.take_step(batches)
        begin = time.monotonic()
        for _ in range(STEPS):
            run.take_step(batches)
        seconds = (time.monotonic() - begin) / STEPS
    rows = [(f"weights of {name}", format_bytes(size)) for name, size in _list_weights(task).items()]
    num = sum(count_values(model.parameters) for model in task.trainable.values())
    rows += [("trainable parameters", f"{num:,}"), ("gradients", format_bytes(4 * num))]
    rows.append(("optimiser", format_bytes(2 * num if config.optimizer.kind == "adamw8bit" else 8 * num)))
    if config.ema_decay:
        rows.append(("moving average of weights", format_bytes(4 * num)))
    if torch.cuda.is_available():
        rows.append(("peak GPU memory", format_bytes(torch.cuda.max_memory_allocated())))
    rows += [(f"batch {number}", text) for number, text in enumerate(seen[: STEPS + 1])]
    rows += [
        ("steps", f"{config.max_steps:,}"),
        ("seconds per step", f"{seconds:.2f}"),
        ("whole run", f"{seconds * config.max_steps / 3600:.2f} h"),
    ]
    return rows


def _list_weights(task: TrainingTask) -> dict[str, int]:
    trainable = {name: model.module for name, model in task.trainable.items()}
    return {name: count_bytes(module) for name, module in {**trainable, **task.frozen}.items()}
