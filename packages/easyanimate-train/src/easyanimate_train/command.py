"""What the commands of all trainers do around a training: claim its folder, show it, say how to go on."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import TYPE_CHECKING, Any

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.hookspecs import PROJECT

from easyanimate_train.launch import was_launched
from easyanimate_train.run_folder import SETTINGS_NAME, claim_run, is_main_process, list_checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from easyanimate_core.dataset import BatchedDataset

    from easyanimate_train.config import RunConfig
    from easyanimate_train.task import TrainingTask


def run_training(  # noqa: PLR0913 (keyword-only)
    config: RunConfig,
    prepare: Callable[[Any], tuple[TrainingTask, BatchedDataset]],
    *,
    resume: bool,
    plan: bool,
    launching: Callable[[], None] | None,
    use: str,
) -> None:
    """Train, or plan it, as a command: the folder of the weights goes to standard output, all else to standard error.

    Args:
        config: Settings.
        prepare: Loads what is trained and opens the data, from the settings; called when the folder is known to do.
        resume: Resume the run in the output folder.
        plan: Print what the training will take, and write nothing.
        launching: Runs the command again in several processes; None trains in this one.
        use: How the result is used, for the last line.
    """
    config.data.check()
    if plan and not launching:
        from easyanimate_train.plan import print_plan, redirect_output

        with PhaseDisplay(), redirect_output(config) as trial:
            task, dataset = prepare(trial)
            print_plan(task, trial, dataset)
        return
    try:
        if launching:
            launching()
            return
        with claim_run(config, resume=resume), PhaseDisplay() as display:
            if not is_main_process():  # the first of several processes says it for all
                logging.getLogger(PROJECT).setLevel(logging.ERROR)
            from easyanimate_train.loop import train

            task, dataset = prepare(config)
            trained = train(task, config, dataset, resume=resume, on_progress=display.show)
    except KeyboardInterrupt:
        if not was_launched():
            tell_resume(config)
        raise
    if is_main_process():
        typer.echo(f"To use it: {use}", err=True)
        typer.echo(trained)


def tell_resume(config: RunConfig) -> None:
    """Say with which command a run that was stopped goes on."""
    if not (config.out / SETTINGS_NAME).exists():
        return  # it had not begun, and left nothing
    newest = list_checkpoints(config.out)
    where = f"from step {int(newest[-1].name.removeprefix('step-'))}" if newest else "from its beginning"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    command = f"ea {shlex.join([*words, '--resume'])}" if "train" in words else "the same command with --resume"
    typer.echo(f"To go on {where}: {command}", err=True)
