"""What this package adds to `ea`: demo weights by name, and the command that makes them anew. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core import CommandSpec, WeightsSource, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WEIGHTS = Path(__file__).parent / "weights"


@hookimpl
def ea_weights() -> Iterable[WeightsSource]:
    """Offer the weights that ship with this package."""
    yield WeightsSource(
        model="v4",
        name="demo",
        summary="moving shapes at 64x64: a circle, square or triangle in six colours; English and Chinese",
        licence="Apache-2.0",
        path=WEIGHTS / "v4",
    )


def _load_train_demo() -> Callable[..., None]:
    from easyanimate_demo.command import train_demo

    return train_demo


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer `ea train demo`."""
    yield CommandSpec(group="train", name="demo", summary="Make the demo weights anew.", load=_load_train_demo)
