"""What this package adds to `ea`: demo weights by name, and the command that makes them anew. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import CommandSpec, WeightsSource, hookimpl

from easyanimate_demo.shipped import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable

_LANGUAGES = {"v1": "English", "v2": "English", "v3": "English", "v4": "English and Chinese"}


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the weights that ship with this package."""
    for model, languages in _LANGUAGES.items():
        yield WeightsSource(
            model=model,
            name="demo",
            summary=f"moving shapes at 64x64: a circle, square or triangle in six colours; {languages}",
            licence="Apache-2.0",
            path=WEIGHTS / model,
        )


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer `ea train demo`."""
    yield CommandSpec(
        group="train", name="demo", summary="Make the demo weights anew.", load="easyanimate_demo.command:train_demo"
    )
