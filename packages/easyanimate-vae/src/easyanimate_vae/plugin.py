"""What this package adds to `ea`: `ea train vae`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.hookspecs import hookimpl
from easyanimate_core.spec import CommandSpec

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer the trainer."""
    yield CommandSpec(
        group="train", name="vae", summary="Train the video VAE.", load="easyanimate_vae.training.command:train"
    )
