"""Commands that are imported when they are called, so that help and lists stay fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from easyanimate_core.errors import PluginError
from easyanimate_core.registry import FIRST_PARTY
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from easyanimate_cli.start import end_startup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core.spec import CommandSpec


class QuickCommand(TyperCommand):
    """A command that does without pydantic as long as it has no values to convert."""

    def get_help_option(self, ctx: Any) -> Any:
        """Give `--help` a plain default."""
        return _set_default(super().get_help_option(ctx))


class LazyCommand(TyperCommand):
    """Stands for a command in lists; becomes the real one when it is called or asked for its own help."""

    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(spec.name, help=spec.summary, rich_markup_mode=None)
        self.spec = spec

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Import the function and let its command parse the arguments."""
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        function = self._load()
        # A command that hands words on to another takes options that it does not know.
        settings = getattr(function, "context_settings", None)
        app.command(self.spec.name, cls=QuickCommand, context_settings=settings)(function)
        context = get_command(app).make_context(*args, **kwargs)
        end_startup()
        return context

    def _load(self) -> Any:
        try:
            return self.spec.load()
        except ImportError as error:
            raise PluginError(
                f"The command '{self.spec.group} {self.spec.name}' cannot be loaded.",
                received=f"{type(error).__name__}: {error}",
                fix="install what is missing; `ea plugins` says which package brings the command",
            ) from error


class LazyGroup(TyperGroup):
    """A group of lazy commands. Called without a command, it runs its `list` when it has one."""

    def get_help_option(self, ctx: Any) -> Any:
        """Give `--help` a plain default."""
        return _set_default(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` where no command was named."""
        return super().parse_args(ctx, args or (["list"] if "list" in self.commands else []))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Name the package to install for a command of this project that is missing; near-misses otherwise."""
        name = args[0]
        path = " ".join(args[:2] if ctx.parent is None else [str(self.name), name])
        package = FIRST_PARTY.get(f"command {path}") or FIRST_PARTY.get(f"command {name if ctx.parent is None else ''}")
        if package and name not in self.commands:
            raise PluginError(
                f"The command 'ea {path}' is not installed.",
                received=f"ea {path}",
                expected=f"a command from {package}",
                fix=f"pip install {package}",
            )
        return super().resolve_command(ctx, args)


def _set_default(help_option: Any) -> Any:
    # Without a default Typer imports pydantic to convert the missing value, which takes a fifth of a second.
    if help_option is not None:
        help_option.default = False
    return help_option


def add_commands(root: TyperGroup, specs: Iterable[CommandSpec], summaries: Mapping[str, str]) -> None:
    """Add every command to its group below `root`, in order; a name that is taken stays as it is.

    Args:
        root: The group that holds the groups; a spec whose group is "" goes straight into it.
        specs: The commands.
        summaries: One line of help per group; a group without one names its commands.
    """
    groups: dict[str, TyperGroup] = {"": root}
    for spec in specs:
        if spec.group not in groups:
            groups[spec.group] = LazyGroup(
                name=spec.group, help=summaries.get(spec.group), no_args_is_help=True, rich_markup_mode=None
            )
            root.add_command(groups[spec.group])
        if spec.name not in groups[spec.group].commands:
            groups[spec.group].add_command(LazyCommand(spec))
    for name, group in groups.items():
        if name and not group.help:
            group.help = f"Commands: {', '.join(group.commands)}."
