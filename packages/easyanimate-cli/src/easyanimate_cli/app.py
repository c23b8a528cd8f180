"""The command `ea`: its built-in commands, those of plugins, and what happens when one fails."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import CommandSpec
from easyanimate_core.target import Target
from easyanimate_core.thread import prepare_threads
from typer.main import get_command

from easyanimate_cli.command import LazyGroup, add_commands
from easyanimate_cli.failure import STOPPED, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer.core import TyperGroup

GROUPS = {
    "models": "The models that are installed: list, show.",
    "weights": "The weights of the models: list, pull, verify, convert.",
    "data": "Prepare training data.",
    "train": "Train a part of a model.",
    "eval": "Measure what a model makes.",
}


def _builtin(path: str, summary: str, target: str) -> CommandSpec:
    """A command of this package: "GROUP NAME" or "NAME", and "module:function"."""
    group, _, name = path.rpartition(" ")
    return CommandSpec(group=group, name=name, summary=summary, load=f"easyanimate_cli.{target}")


COMMANDS = (
    CommandSpec(group="", name="run", summary="Make a video or an image.", load=Target("easyanimate_cli.run:make_run")),
    _builtin("models list", "List the models that are installed.", "models:list_models"),
    _builtin("models show", "Show everything about one model.", "models:show_model"),
    _builtin("weights list", "List the weights and where they are.", "weights:list_weights"),
    _builtin("weights pull", "Fetch weights from Hugging Face or from an archive.", "weights:pull_weights"),
    _builtin("weights verify", "Check that weights are whole.", "weights:verify_weights"),
    _builtin("info", "Show how a file was made.", "info:info"),
    CommandSpec(
        group="",
        name="rerun",
        summary="Make a file again: bit for bit, or with changes.",
        load=Target("easyanimate_cli.rerun:make_rerun"),
    ),
    _builtin("plugins", "List the plugins: what they bring, what is broken and why.", "plugins:list_plugins"),
    _builtin("doctor", "Check this machine: what can run, what is missing.", "doctor:doctor"),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ea {version('easyanimate-cli')} (easyanimate-core {version('easyanimate-core')})")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, as EA_DEBUG=1 does.")] = False,
) -> None:
    """Make videos with diffusion transformers."""
    if debug:
        os.environ["EA_DEBUG"] = "1"


def build() -> TyperGroup:
    """Build the whole command tree, without importing a command."""
    app = typer.Typer(
        cls=LazyGroup,
        name="ea",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},  # commands inherit it
    )
    app.callback()(_root)
    root: Any = get_command(app)
    add_commands(root, (*COMMANDS, *load_plugins().commands().values()), GROUPS)
    return root


def main(args: Sequence[str] | None = None) -> None:
    """Run `ea` and leave with its exit code: 0 done, 1 a bug, 2 a mistake that the message explains, 130 Ctrl-C."""
    try:
        prepare_threads()
        build().main(args, prog_name="ea")
    except SystemExit as leaving:
        # Typer turns Ctrl-C into a silent exit.
        sys.exit(report(KeyboardInterrupt()) if leaving.code == STOPPED else leaving.code)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the last place an error can be shown)
        sys.exit(report(error))
