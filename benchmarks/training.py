"""Time of a training step against a plain loop of the same forward, backward and optimiser: what the trainer adds.

Both sides take turns in one process, on the demo weights of V4 and cached samples; ratios are of processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from easyanimate_core.registry import load_plugins
from easyanimate_dit.training.config import DitTrainingConfig
from easyanimate_dit.training.loss import compute_loss, make_target
from easyanimate_dit.training.run import open_dataset, prepare_task
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.loop import TrainingRun


def open_run(folder: Path, batch_size: int) -> tuple[TrainingRun, Any]:
    """A run of the trainer on a set that is small enough to be cached at once."""
    source = load_plugins().weights("v4")["demo"].path
    config = DitTrainingConfig(
        out=folder / "run",
        weights=str(source),
        data=DataConfig(kind="shapes", options={"count": 16}, batches=((batch_size, 16),), passes=1),
        optimizer=OptimizerConfig(learning_rate=1e-5),
        timesteps="uniform",
        cache=True,
        tracker="none",
    )
    pipeline: Any = open_model("v4", weights=source, device="cpu", dtype="float32").pipeline
    dataset = open_dataset(config, pipeline.pipeline)
    task = prepare_task(config, pipeline.pipeline, dataset)
    return TrainingRun(task, config, dataset), task


class PlainLoop:
    """The same step with everything at hand: what cannot be left out."""

    def __init__(self, task: Any, batch: Any, shard: Any) -> None:
        self._module = task.trainable["transformer"].module
        self._scheduler = task._scheduler  # noqa: SLF001 (the same noise levels)
        self._drawn = task._draw(batch, shard)  # noqa: SLF001
        self._arguments = task._condition(batch, batch.captions, self._drawn[0])  # noqa: SLF001
        self._optimizer = torch.optim.AdamW(self._module.parameters(), lr=1e-5)

    def take_step(self) -> None:
        """Noise, forward, backward, clip, step."""
        latents, noise, timesteps = self._drawn
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        output = self._module(noisy, timesteps.to(noisy.dtype), **self._arguments, return_dict=False)[0]
        compute_loss(output, make_target(self._scheduler, latents, noise, timesteps)).backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def measure(step: Any, num: int) -> float:
    """Processor seconds of some steps."""
    begin = time.process_time()
    for _ in range(num):
        step()
    return time.process_time() - begin


def main() -> None:
    """Print the ratio of every round, and the smallest of each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run, task = open_run(Path(folder), options.batch_size)
        batches = iter(run.stream)
        shard, batch = next(batches)
        while isinstance(batch, dict):  # clips that are still to be encoded, which fills the cache
            run.take_step(iter([(shard, batch)]))
            shard, batch = next(batches)
        plain = PlainLoop(task, batch, shard)
        plain.take_step()
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(options.rounds):
            theirs.append(measure(plain.take_step, options.steps))
            ours.append(measure(lambda: run.take_step(batches), options.steps))
            print(f"trainer {ours[-1]:.2f} s, plain loop {theirs[-1]:.2f} s, ratio {ours[-1] / theirs[-1]:.3f}")
        print(f"smallest of each: ratio {min(ours) / min(theirs):.3f}")


if __name__ == "__main__":
    main()
