"""The commands `ea train dit` and `ea train lora`."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError
from easyanimate_core.model import open_model
from easyanimate_core.options import SettingsReader
from easyanimate_train.launch import EXTRA_OPTIONS, LACKING, launch

from easyanimate_dit.training.config import DitTrainingConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from easyanimate_core.dataset import BatchedDataset
    from easyanimate_core.model import Model
    from easyanimate_train.task import TrainingTask

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

MODULE = "easyanimate_dit.train"


def load_pipeline(model: Model, name: str) -> EasyAnimatePipeline:
    """Load all components of a model.

    Raises:
        RequestError: The model's pipeline is not one of this package.
    """
    from easyanimate_dit.sampling.request_pipeline import RequestPipeline

    loaded = model.pipeline
    if not isinstance(loaded, RequestPipeline):
        raise RequestError(
            f"The model {model.spec.key} cannot be trained with `ea train {name}`.",
            received=type(loaded).__name__,
            expected="a model whose pipeline is a RequestPipeline of easyanimate-dit",
        )
    return loaded.pipeline


def _say_use(settings: DitTrainingConfig) -> str:
    """The command that makes a clip with the result."""
    is_lora = isinstance(settings, LoraTrainingConfig)
    words = ["ea", "run", "--model", settings.model, "--weights", settings.weights]
    words += ["--lora" if is_lora else "--transformer", str(settings.out)]
    if is_lora and settings.lcm.enabled:
        words += ["--sampler", "lcm", "--steps", "4", "--guidance", "1"]
    return f'{shlex.join(words)} --prompt "..."'


def _make_command(kind: type[DitTrainingConfig], name: str, summary: str) -> Callable[..., None]:
    """Make the command with the settings `kind`."""
    opened: list[Model] = []  # for the settings, then for the run

    def find_defaults(settings: DitTrainingConfig) -> Mapping[str, Any]:
        opened[:] = [open_model(settings.model, weights=settings.weights, dtype="float32", device="cpu")]
        return opened[0].training(name)

    def train(settings: DitTrainingConfig, *, resume: bool, plan: bool, launch_words: str | None) -> None:
        from easyanimate_train.command import run_training

        def prepare(config: DitTrainingConfig) -> tuple[TrainingTask, BatchedDataset]:
            from easyanimate_dit.training.run import open_dataset, prepare_task

            model = opened.pop()
            pipeline = load_pipeline(model, name)
            dataset = open_dataset(config, pipeline)
            return prepare_task(config, pipeline, dataset, model), dataset

        launching = None if launch_words is None else partial(launch, MODULE, name, launch_words)
        run_training(settings, prepare, resume=resume, plan=plan, launching=launching, use=_say_use(settings))

    train.__doc__ = summary
    return SettingsReader(kind, find_defaults).command(train, EXTRA_OPTIONS, lacking=LACKING)


train_transformer = _make_command(DitTrainingConfig, "dit", "Train the video transformer.")
train_lora = _make_command(LoraTrainingConfig, "lora", "Train a LoRA of the video transformer.")
