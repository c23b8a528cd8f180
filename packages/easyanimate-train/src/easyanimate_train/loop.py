"""The training loop: batches to gradients to weights, with checkpoints that a run resumes from exactly.

All randomness is a function of the seed and the position in the run, so a resumed run gives the same numbers as one
that was never interrupted.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from easyanimate_core.errors import RequestError
from easyanimate_core.request import Progress

from easyanimate_train.checkpoint import Checkpoint
from easyanimate_train.engine import is_sharded, open_accelerator, prepare, set_clipping
from easyanimate_train.memory import align, explain_memory
from easyanimate_train.optimizer import clip_gradients, make_optimizer, set_learning_rate
from easyanimate_train.run_folder import RunFolder, claim_run
from easyanimate_train.stream import BatchStream
from easyanimate_train.tracker import open_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset
    from torch import Tensor

    from easyanimate_train.config import RunConfig
    from easyanimate_train.stream import BatchShard
    from easyanimate_train.task import TrainingTask

    Report = Callable[[Progress, Mapping[str, float]], None]

DIVERGED = 100.0
"""A loss of more than this many times the median so far has diverged."""

_LOSSES_TO_JUDGE = 10
"""Logged losses that are needed before one is called diverged."""


def train(
    task: TrainingTask,
    config: RunConfig,
    dataset: BatchedDataset,
    *,
    resume: bool = False,
    on_progress: Report | None = None,
) -> Path:
    """Run a training to its end and write `out/weights`, which `ea run` loads.

    Raises:
        RequestError: The loss diverges, memory runs out, or the output folder holds another run.
    """
    with claim_run(config, resume=resume), explain_memory(task):
        run = TrainingRun(task, config, dataset, resume=resume, on_progress=on_progress)
        with run.tracking():
            run.take_steps()
        return run.finish()


class TrainingRun:
    """A training run, step by step.

    Args:
        task: What is trained.
        config: Settings.
        dataset: Batches of training data.
        resume: Resume from the newest checkpoint.
        on_progress: Called at every step with the numbers of the last logged one.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: RunConfig,
        dataset: BatchedDataset,
        *,
        resume: bool = False,
        on_progress: Report | None = None,
    ) -> None:
        self.task, self.config, self._report = task, config, on_progress
        self.accelerator = open_accelerator(config)
        set_seed(config.seed)
        self.folder = RunFolder(
            config.out,
            config,
            resume=resume,
            is_main=self.accelerator.is_main_process,
            wait=self.accelerator.wait_for_everyone,
        )
        self._optimizers = self._prepare()
        self._ema = self._start_ema()
        self._checkpoint = Checkpoint(self.accelerator, task.trainable, self._optimizers, self._ema)
        self.stream = BatchStream(
            dataset,
            task.load,
            workers=config.data.workers,
            rank=self.accelerator.process_index,
            num_ranks=self.accelerator.num_processes,
        )
        self.step = 0
        if resume and self.folder.newest:
            _, newest = self.folder.newest
            position = self._checkpoint.load(newest)
            self.step = position["step"]
            self.stream.load_state_dict(position["data"])
        self.folder.cut_log(self.step)
        self._losses = self.folder.read_log("loss")
        self._num_nonfinite = torch.zeros((), device=self.accelerator.device)
        self._tracker: Any = None
        self._num_replaced = 0
        self._shown: Mapping[str, float] = {}

    def tracking(self) -> Any:
        """A context in which the log also goes to the tracker."""
        self._tracker = open_tracker(self.config, self.step, is_main=self.accelerator.is_main_process)
        return self._tracker

    def take_steps(self) -> None:
        """Take all remaining steps, with their logs, checkpoints and validations."""
        batches = iter(self.stream)
        config, noted = self.config, False
        while self.step < config.max_steps:
            values = self.take_step(batches)
            if not noted:
                self.folder.note_start()
                noted = True
            last = self.step == config.max_steps
            if last or self.step % config.log_every == 0:
                self._log(values)
            self._show()
            if last or self.step % config.checkpoint_every == 0:
                self._stop_if_diverged()
                self._save()
            if config.validate_every and (last or self.step % config.validate_every == 0):
                self._validate()

    def finish(self) -> Path:
        """Write the finished weights and return their folder."""
        return self.folder.save_final(self._write)

    def take_step(self, batches: Iterator[tuple[BatchShard, Any]]) -> dict[str, Tensor]:
        """Take one optimiser step.

        Returns:
            The numbers to log, each the mean over the accumulated batches on this process.
        """
        task, accelerator = self.task, self.accelerator
        rates = {
            name: set_learning_rate(self._optimizers[name], model, self.step, self.config.max_steps)
            for name, model in task.trainable.items()
        }
        for name, model in task.trainable.items():
            set_clipping(accelerator, self._optimizers[name], model, self.step)
        sums: dict[str, Tensor] = {}
        for _ in range(self.config.accumulate):
            shard, batch = next(batches)
            self._num_replaced += len(batch.get("bad", ())) if isinstance(batch, dict) else 0
            with accelerator.accumulate(*(model.module for model in task.trainable.values())):
                for name, model in task.trainable.items():
                    with accelerator.autocast():
                        found = task.compute(name, batch, shard, self.step)
                    loss = found["loss"] * shard.weight
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        norm = clip_gradients(accelerator, model, self.step)
                        if norm is not None:
                            sums[_name("grad_norm", name, task)] = norm * self.config.accumulate
                    self._optimizers[name].step()
                    self._optimizers[name].zero_grad(set_to_none=True)
                    for key, value in found.items():
                        own = _name(key, name, task)
                        sums[own] = sums.get(own, 0.0) + value.detach() * shard.weight
        self.step += 1
        if self._ema is not None:
            self._ema.step(next(iter(task.trainable.values())).parameters)
        self._num_nonfinite += (~torch.isfinite(sums["loss"])).float()
        values = {name: value / self.config.accumulate for name, value in sums.items()}
        return values | {"lr": torch.tensor(next(iter(rates.values())), dtype=torch.float64)}

    def _prepare(self) -> dict[str, Any]:
        """Move the frozen models to the device, and hand modules and optimisers to accelerate."""
        models = self.task.trainable
        for module in (*(model.module for model in models.values()), *self.task.frozen.values()):
            align(module)
        self.task.move(self.accelerator.device)
        return prepare(self.accelerator, models, [make_optimizer(model) for model in models.values()])

    def _start_ema(self) -> EMAModel | None:
        """The exponential moving average of the first model's weights, where the settings ask for it."""
        if not self.config.ema_decay:
            return None
        first = next(iter(self.task.trainable.values()))
        return EMAModel(first.parameters, decay=self.config.ema_decay, use_ema_warmup=True, power=0.75)

    def _log(self, values: dict[str, Tensor]) -> None:
        mean: Any = self.accelerator.reduce({name: value for name, value in values.items() if name != "lr"}, "mean")
        numbers = {name: float(value) for name, value in mean.items()} | {"lr": float(values["lr"])}
        self._stop_if_diverged(numbers)
        self._losses.append(numbers["loss"])
        self.folder.log(step=self.step, **numbers)
        if self._num_replaced:  # not in the log, which is the same for any number of processes
            numbers["replaced"] = self._num_replaced
        self._tracker.log(numbers, self.step)
        self._shown = numbers

    def _show(self) -> None:
        """Report a step, with the numbers of the last one that was logged: reading them each time would cost time."""
        if self._report and self.accelerator.is_main_process:
            self._report(Progress("train", self.step, self.config.max_steps), self._shown)

    def _stop_if_diverged(self, numbers: Mapping[str, float] | None = None) -> None:
        """Stop before a checkpoint of useless weights is written."""
        nonfinite: Any = self.accelerator.reduce(self._num_nonfinite.clone(), "sum")
        diverged = (
            numbers is not None
            and len(self._losses) >= _LOSSES_TO_JUDGE
            and numbers["loss"] > DIVERGED * abs(statistics.median(self._losses))
        )
        if not float(nonfinite) and not diverged:
            return
        newest = self.folder.newest
        raise RequestError(
            "The loss diverges." if diverged else "The loss is not finite.",
            received=f"{dict(numbers or {})} at step {self.step}",
            fix="lower optimizer.learning_rate or raise optimizer.warmup_steps; "
            f"the last good checkpoint is {newest[1] if newest else 'none'}",
        )

    def _save(self) -> None:
        position = {"step": self.step, "data": self.stream.state_dict()}

        def write(path: Path) -> None:
            self._checkpoint.save(path, position)
            self._write(path)

        self.folder.save(self.step, write, keep=self.config.keep_checkpoints)

    def _write(self, path: Path) -> None:
        """Write weights for `ea run`: the moving average where there is one."""
        first = next(iter(self.task.trainable.values()))
        with self._ema_weights():
            state: Any = self.accelerator.get_state_dict(first.module)
            if self.accelerator.is_main_process:
                if is_sharded(self.accelerator):  # gathered tensors have no storage of their own
                    state = {name: value.detach().cpu().clone() for name, value in state.items()}
                self.task.write(state, path)

    def _ema_weights(self) -> Any:
        first = next(iter(self.task.trainable.values()))
        return _EmaWeights(self._ema, first.parameters)

    def _validate(self) -> None:
        if is_sharded(self.accelerator):
            raise RequestError(
                "Sharded weights cannot be validated during training.",
                received=f"validate_every {self.config.validate_every}",
                fix="set validate_every to 0, and run `ea run` with a checkpoint",
            )
        if self.accelerator.is_main_process:
            drawn = torch.get_rng_state()
            with self._ema_weights(), torch.no_grad():
                found = self.task.validate(self.folder.path / "validation" / f"step-{self.step:08d}", self.step)
            torch.set_rng_state(drawn)
            if found.values:
                self._tracker.log({f"validation/{name}": value for name, value in found.values.items()}, self.step)
                if self._report:
                    self._report(Progress("validate", self.step, self.config.max_steps), found.values)
            self._tracker.log_videos(found.videos, self.step, found.fps)
        self.accelerator.wait_for_everyone()


class _EmaWeights:
    """A context in which the parameters have the values of their moving average."""

    def __init__(self, ema: EMAModel | None, parameters: Any) -> None:
        self._ema, self._parameters = ema, parameters

    def __enter__(self) -> None:
        if self._ema is not None:
            self._ema.store(self._parameters)
            self._ema.copy_to(self._parameters)

    def __exit__(self, *_: object) -> None:
        if self._ema is not None:
            self._ema.restore(self._parameters)


def _name(key: str, model: str, task: TrainingTask) -> str:
    """Name of a number in the log: those of the first model have no prefix."""
    return key if model == next(iter(task.trainable)) else f"{model}_{key}"
