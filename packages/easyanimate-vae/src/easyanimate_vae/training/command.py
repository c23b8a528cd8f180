"""`ea train vae`: settings from a file and the command line, progress on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated

import typer
from easyanimate_core.config import read_config
from easyanimate_core.training import ProgressLine, list_overrides

from easyanimate_vae.training.config import VaeTrainingConfig


def train(  # noqa: PLR0913 (the command's options)
    *,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Dataset JSON or folder.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Length of the run in steps.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, data order and noise.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: loss.kl=1e-5")] = None,
) -> None:
    """Train the video VAE."""
    given = {
        "out": out,
        "data.path": data,
        "max_steps": max_steps,
        "checkpoint_every": checkpoint_every,
        "seed": seed,
    }
    settings = read_config(VaeTrainingConfig, config, list_overrides(given, setting))
    dataset = settings.data.open()

    from easyanimate_vae.training.run import train_vae

    trained = train_vae(settings, dataset, resume=resume, on_progress=ProgressLine(sys.stderr))
    typer.echo(str(trained))
