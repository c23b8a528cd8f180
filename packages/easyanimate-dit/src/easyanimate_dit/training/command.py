"""`ea train dit` and `ea train lora`: settings from a file and the command line, progress on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.config import read_config
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import LoadOptions
from easyanimate_core.training import ProgressLine, list_overrides

from easyanimate_dit.training.config import DitTrainingConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable


def _make_command(kind: type[DitTrainingConfig], name: str, summary: str) -> Callable[..., None]:
    """The command whose settings are `kind`."""

    def train(  # noqa: PLR0913 (the command's options)
        *,
        config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
        model: Annotated[str | None, typer.Option(help="Model version.")] = None,
        weights: Annotated[Path | None, typer.Option(help="Folder with every part of the model.")] = None,
        out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
        data: Annotated[Path | None, typer.Option(help="Dataset JSON or folder.")] = None,
        max_steps: Annotated[int | None, typer.Option(help="Length of the run in steps.")] = None,
        checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
        seed: Annotated[int | None, typer.Option(help="Seed of data order, noise and timesteps.")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
        setting: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: timesteps=uniform")] = None,
    ) -> None:
        given = {
            "model": model,
            "weights": weights,
            "out": out,
            "data.path": data,
            "max_steps": max_steps,
            "checkpoint_every": checkpoint_every,
            "seed": seed,
        }
        _train(name, read_config(kind, config, list_overrides(given, setting)), resume=resume)

    train.__doc__ = summary
    return train


def _train(name: str, settings: DitTrainingConfig, *, resume: bool) -> None:
    dataset = settings.data.open()
    spec = load_plugins().model(settings.model)

    from easyanimate_dit.request_pipeline import RequestPipeline
    from easyanimate_dit.training.run import train_dit

    loaded = spec.load(LoadOptions(weights=settings.weights, dtype="float32"))
    if not isinstance(loaded, RequestPipeline):
        raise RequestError(
            f"The model {settings.model} cannot be trained with `ea train {name}`.",
            received=type(loaded).__name__,
            expected="a model whose pipeline is a RequestPipeline of easyanimate-dit",
        )
    trained = train_dit(settings, loaded.pipeline, dataset, resume=resume, on_progress=ProgressLine(sys.stderr))
    typer.echo(str(trained))


train_transformer = _make_command(DitTrainingConfig, "dit", "Train the video transformer.")
train_lora = _make_command(LoraTrainingConfig, "lora", "Train a LoRA of the video transformer.")
