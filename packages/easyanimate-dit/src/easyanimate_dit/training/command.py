"""The commands `ea train dit` and `ea train lora`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import RequestError
from easyanimate_core.model import open_model
from easyanimate_core.options import SettingsReader
from easyanimate_train.launch import EXTRA_OPTIONS, launch
from easyanimate_train.plan import print_plan, redirect_output

from easyanimate_dit.training.config import DitTrainingConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from easyanimate_core.model import Model

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

MODULE = "easyanimate_dit.train"


def _open_model(settings: DitTrainingConfig) -> Model:
    return open_model(settings.model, weights=settings.weights, dtype="float32", device="cpu")


def load_pipeline(settings: DitTrainingConfig, name: str) -> EasyAnimatePipeline:
    """Load all components of a model, in float32 on the CPU.

    Raises:
        RequestError: The model's pipeline is not one of this package.
    """
    from easyanimate_dit.sampling.request_pipeline import RequestPipeline

    loaded = _open_model(settings).pipeline
    if not isinstance(loaded, RequestPipeline):
        raise RequestError(
            f"The model {settings.model} cannot be trained with `ea train {name}`.",
            received=type(loaded).__name__,
            expected="a model whose pipeline is a RequestPipeline of easyanimate-dit",
        )
    return loaded.pipeline


def _make_command(kind: type[DitTrainingConfig], name: str, summary: str) -> Callable[..., None]:
    """Make the command with the settings `kind`."""

    def train(settings: DitTrainingConfig, *, resume: bool, plan: bool, launch_words: str | None) -> None:
        if launch_words is not None:
            launch(MODULE, name, launch_words)
            return
        from easyanimate_dit.training.run import open_dataset, prepare_task, train_dit

        pipeline = load_pipeline(settings, name)
        with PhaseDisplay() as display:
            dataset = open_dataset(settings, pipeline)
            if plan:
                with redirect_output(settings) as trial:
                    print_plan(prepare_task(trial, pipeline, dataset), trial, dataset)
                return
            trained = train_dit(settings, pipeline, dataset, resume=resume, on_progress=display.show)
        print(trained)  # noqa: T201 (the folder of the weights, for scripts)

    train.__doc__ = summary
    reader = SettingsReader(kind, lambda settings: _open_model(settings).training(name))
    return reader.command(train, EXTRA_OPTIONS)


train_transformer = _make_command(DitTrainingConfig, "dit", "Train the video transformer.")
train_lora = _make_command(LoraTrainingConfig, "lora", "Train a LoRA of the video transformer.")
