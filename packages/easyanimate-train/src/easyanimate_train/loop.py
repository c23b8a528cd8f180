"""The training loop: batches to gradients to weights, with checkpoints that a run goes on from without a trace.

Everything random is a function of the seed and the place in the run, so a resumed run repeats what it would have been.
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
from easyanimate_train.engine import is_sharded, open_accelerator, prepare
from easyanimate_train.memory import align, explain_memory
from easyanimate_train.optimizer import clip_gradients, make_optimizer, set_learning_rate
from easyanimate_train.run_folder import RunFolder
from easyanimate_train.stream import BatchStream
from easyanimate_train.tracker import open_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset
    from torch import Tensor

    from easyanimate_train.config import RunConfig
    from easyanimate_train.stream import Place
    from easyanimate_train.task import TrainingTask

    Report = Callable[[Progress, Mapping[str, float]], None]

EXPLODED = 100.0
"""Times the median of the losses so far that a loss is called exploding at."""

_LOSSES_TO_JUDGE = 10
"""Lines of the log before a loss is called exploding."""


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
        RequestError: The loss is no longer finite, memory does not suffice, or the output folder holds another run.
    """
    with explain_memory(task):
        run = TrainingRun(task, config, dataset, resume=resume, on_progress=on_progress)
        with run.tracking():
            run.go()
        return run.finish()


class TrainingRun:
    """A run that can be taken step by step.

    Args:
        task: What is learnt.
        config: Settings.
        dataset: The batches.
        resume: Go on from the newest checkpoint.
        on_progress: Told of the steps that are logged.
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
        self._average = self._start_average()
        self._checkpoint = Checkpoint(self.accelerator, task.learners, self._optimizers, self._average)
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
            place = self._checkpoint.load(newest)
            self.step = place["step"]
            self.stream.load_state_dict(place["data"])
        self.folder.cut_log(self.step)
        self._losses = self.folder.read_log("loss")
        self._broken = torch.zeros((), device=self.accelerator.device)
        self._tracker: Any = None
        self._num_replaced = 0

    def tracking(self) -> Any:
        """A context in which numbers go to the tracker, too."""
        self._tracker = open_tracker(self.config, self.step, is_main=self.accelerator.is_main_process)
        return self._tracker

    def go(self) -> None:
        """Take all steps that are left."""
        batches = iter(self.stream)
        config = self.config
        while self.step < config.max_steps:
            values = self.take_step(batches)
            last = self.step == config.max_steps
            if last or self.step % config.log_every == 0:
                self._log(values)
            if last or self.step % config.checkpoint_every == 0:
                self._refuse_broken()
                self._save()
            if config.validate_every and (last or self.step % config.validate_every == 0):
                self._validate()

    def finish(self) -> Path:
        """Write the result; its folder."""
        return self.folder.save_final(self._write)

    def take_step(self, batches: Iterator[tuple[Place, Any]]) -> dict[str, Tensor]:
        """One optimiser step; the numbers of its batches, their mean."""
        task, accelerator = self.task, self.accelerator
        rates = {
            name: set_learning_rate(self._optimizers[name], learner, self.step, self.config.max_steps)
            for name, learner in task.learners.items()
        }
        sums: dict[str, Tensor] = {}
        for _ in range(self.config.accumulate):
            place, batch = next(batches)
            self._num_replaced += len(batch.get("bad", ())) if isinstance(batch, dict) else 0
            with accelerator.accumulate(*(learner.module for learner in task.learners.values())):
                for name, learner in task.learners.items():
                    with accelerator.autocast():
                        found = task.compute(name, batch, place, self.step)
                    loss = found["loss"] * place.share
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        norm = clip_gradients(accelerator, learner, self.step)
                        if norm is not None:
                            sums[_name("grad_norm", name, task)] = norm * self.config.accumulate
                    self._optimizers[name].step()
                    self._optimizers[name].zero_grad(set_to_none=True)
                    for key, value in found.items():
                        own = _name(key, name, task)
                        sums[own] = sums.get(own, 0.0) + value.detach() * place.share
        self.step += 1
        if self._average is not None:
            self._average.step(next(iter(task.learners.values())).parameters)
        self._broken += (~torch.isfinite(sums["loss"])).float()
        values = {name: value / self.config.accumulate for name, value in sums.items()}
        return values | {"lr": torch.tensor(next(iter(rates.values())), dtype=torch.float64)}

    def _prepare(self) -> dict[str, Any]:
        """Hand modules and optimisers to accelerate, and the rest of the models to their place."""
        learners = self.task.learners
        for module in (*(learner.module for learner in learners.values()), *self.task.frozen.values()):
            align(module)
        self.task.move(self.accelerator.device)
        return prepare(self.accelerator, learners, [make_optimizer(learner) for learner in learners.values()])

    def _start_average(self) -> EMAModel | None:
        """Averaged weights of the first learner."""
        if not self.config.ema_decay:
            return None
        first = next(iter(self.task.learners.values()))
        return EMAModel(first.parameters, decay=self.config.ema_decay, use_ema_warmup=True, power=0.75)

    def _log(self, values: dict[str, Tensor]) -> None:
        mean: Any = self.accelerator.reduce({name: value for name, value in values.items() if name != "lr"}, "mean")
        numbers = {name: float(value) for name, value in mean.items()} | {"lr": float(values["lr"])}
        self._refuse_broken(numbers)
        self._losses.append(numbers["loss"])
        self.folder.log(step=self.step, **numbers)
        if self._num_replaced:  # not in the log, which is the same whoever reads the clips
            numbers["replaced"] = self._num_replaced
        self._tracker.log(numbers, self.step)
        if self._report and self.accelerator.is_main_process:
            self._report(Progress("train", self.step, self.config.max_steps), numbers)

    def _refuse_broken(self, numbers: Mapping[str, float] | None = None) -> None:
        """Stop before a checkpoint could be made of weights that are worth nothing."""
        broken: Any = self.accelerator.reduce(self._broken.clone(), "sum")
        exploded = (
            numbers is not None
            and len(self._losses) >= _LOSSES_TO_JUDGE
            and numbers["loss"] > EXPLODED * abs(statistics.median(self._losses))
        )
        if not float(broken) and not exploded:
            return
        newest = self.folder.newest
        raise RequestError(
            "The loss explodes." if exploded else "The loss is no longer a number.",
            received=f"{dict(numbers or {})} at step {self.step}",
            fix="lower optimizer.learning_rate, or raise optimizer.warmup_steps; "
            f"the last good checkpoint is {newest[1] if newest else 'none'}",
        )

    def _save(self) -> None:
        place = {"step": self.step, "data": self.stream.state_dict()}

        def write(path: Path) -> None:
            self._checkpoint.save(path, place)
            self._write(path)

        self.folder.save(self.step, write, keep=self.config.keep_checkpoints)

    def _write(self, path: Path) -> None:
        """Weights for `ea run`: the averaged ones where there are such."""
        first = next(iter(self.task.learners.values()))
        with self._averaged():
            state: Any = self.accelerator.get_state_dict(first.module)
            if self.accelerator.is_main_process:
                if is_sharded(self.accelerator):  # gathered tensors have no storage of their own
                    state = {name: value.detach().cpu().clone() for name, value in state.items()}
                self.task.write(state, path)

    def _averaged(self) -> Any:
        first = next(iter(self.task.learners.values()))
        return _Averaged(self._average, first.parameters)

    def _validate(self) -> None:
        if is_sharded(self.accelerator):
            raise RequestError(
                "Weights that are split over processes cannot be validated during training.",
                received=f"validate_every {self.config.validate_every}",
                fix="set validate_every to 0, and use `ea run` on a checkpoint",
            )
        if self.accelerator.is_main_process:
            drawn = torch.get_rng_state()
            with self._averaged(), torch.no_grad():
                found = self.task.validate(self.folder.path / "validation" / f"step-{self.step:08d}", self.step)
            torch.set_rng_state(drawn)
            if found.values:
                self._tracker.log({f"validation/{name}": value for name, value in found.values.items()}, self.step)
                if self._report:
                    self._report(Progress("validate", self.step, self.config.max_steps), found.values)
            self._tracker.log_videos(found.videos, self.step, found.fps)
        self.accelerator.wait_for_everyone()


class _Averaged:
    """Averaged weights in the place of the last ones, for `with`."""

    def __init__(self, average: EMAModel | None, parameters: Any) -> None:
        self._average, self._parameters = average, parameters

    def __enter__(self) -> None:
        if self._average is not None:
            self._average.store(self._parameters)
            self._average.copy_to(self._parameters)

    def __exit__(self, *_: object) -> None:
        if self._average is not None:
            self._average.restore(self._parameters)


def _name(key: str, learner: str, task: TrainingTask) -> str:
    """Numbers of the first learner keep their names."""
    return key if learner == next(iter(task.learners)) else f"{learner}_{key}"
