"""`ea train plan TRAINER ...`: runs a trainer with its options and `--plan`."""

from __future__ import annotations

from typing import Annotated

import typer
from easyanimate_core.options import CONTEXT_SETTINGS
from easyanimate_core.registry import load_plugins
from typer.main import get_command


def plan(
    context: typer.Context,
    trainer: Annotated[str, typer.Argument(help="The trainer (dit, lora or vae), followed by its options.")],
) -> None:
    """Print what a training will take: memory by part, sizes of batches, steps, time per step. Writes nothing."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(trainer, context_settings=CONTEXT_SETTINGS)(load_plugins().command("train", trainer).load())
    get_command(app).main([*context.args, "--plan"], prog_name=f"ea train plan {trainer}", standalone_mode=False)


plan.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}  # pyright: ignore[reportFunctionMemberAccess]
