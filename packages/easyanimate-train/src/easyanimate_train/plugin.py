"""What this package adds to `ea`: `ea train plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.hookspecs import hookimpl
from easyanimate_core.spec import CommandSpec

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer the plan of a training."""
    yield CommandSpec(
        group="train",
        name="plan",
        summary="Print what a training will take: memory, steps, time.",
        load="easyanimate_train.plan_command:plan",
    )
