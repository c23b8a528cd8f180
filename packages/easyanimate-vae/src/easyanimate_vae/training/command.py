"""`ea train vae`: settings from a file and the command line, progress on the terminal."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from easyanimate_core.config import read_config
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import Progress
from easyanimate_vae.training.config import VaeTrainingConfig


def train(
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
    words = [
        f"{name}={value}"
        for name, value in (
            ("out", out),
            ("data.path", data),
            ("max_steps", max_steps),
            ("checkpoint_every", checkpoint_every),
            ("seed", seed),
        )
        if value is not None
    ]
    settings = read_config(VaeTrainingConfig, config, [*words, *(setting or ())])
    source = load_plugins().dataset(settings.data.kind)
    options: dict[str, Any] = dict(settings.data.options)
    if settings.data.path is not None:
        options["path"] = settings.data.path

    from easyanimate_vae.training.run import train_vae

    show = ProgressLine()
    weights = train_vae(settings, source.load(**options), resume=resume, on_progress=show)
    typer.echo(f"{weights}")


@dataclasses.dataclass
class ProgressLine:
    """Prints step, loss and time left."""

    started: float = dataclasses.field(default_factory=time.monotonic)
    first: int | None = None

    def __call__(self, progress: Progress, values: dict[str, float]) -> None:
        """Print one line."""
        if self.first is None:
            self.first, self.started = progress.step, time.monotonic()
        done = max(progress.step - self.first, 1)
        left = (time.monotonic() - self.started) / done * (progress.total - progress.step)
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        typer.echo(f"step {progress.step}/{progress.total}  {numbers}  {left / 60:.1f} min left", err=True)
