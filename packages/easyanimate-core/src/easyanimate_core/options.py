"""Commands with an option for every field of a dataclass: `max_steps` is `--max-steps`, `data.path` `--data.path`.

A field's help is the first sentence that the docstring says of it; `field(metadata={"option": "--data"})` gives an
option further names, and `{"option": None}` leaves it out.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from easyanimate_core.config import convert, read_config
from easyanimate_core.errors import EasyAnimateError
from easyanimate_core.thread import set_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Config = TypeVar("Config")


def _hyphenate(word: str) -> str:
    return word.replace("_", "-")


CONTEXT_SETTINGS: dict[str, Any] = {"token_normalize_func": _hyphenate}
"""For Typer: an option can be written with underscores, as YAML has it."""

_HELP, _CONTEXT = "show_help", "typer_context"

_DOT = "__"
"""Stands for the dot of a name in Python's."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting as an option.

    Args:
        name: Its whole name, such as `data.path`.
        hint: Its type.
        summary: First sentence of what the docstring says.
        default: What it is when nobody says.
        flags: Further names of the option, such as "--data" or "-o".
        metavar: What stands for the value in the help; None names its type.
    """

    name: str
    hint: Any
    summary: str
    default: Any
    flags: tuple[str, ...] = ()
    metavar: str | None = None

    @property
    def is_list(self) -> bool:
        """Whether the option can be repeated: lists of texts or paths."""
        return typing.get_origin(self.hint) is tuple and typing.get_args(self.hint)[0] in (str, Path)

    @property
    def is_text(self) -> bool:
        """Whether the value is taken as it was typed."""
        if typing.get_origin(self.hint) is typing.Literal:
            return True
        parts = typing.get_args(self.hint) if typing.get_origin(self.hint) in (typing.Union, types.UnionType) else ()
        return bool({self.hint, *parts} & {str, Path})

    @property
    def option(self) -> str:
        """The option's name on a command line."""
        return "--" + self.name.replace("_", "-")

    def parameter(self) -> inspect.Parameter:
        """The parameter of a function that Typer makes an option of."""
        kind: Any = bool | None if self.hint is bool else list[str] | None if self.is_list else str | None
        named = f"{self.option}/--no-{self.option[2:]}" if self.hint is bool else self.option
        names = (named, *self.flags)
        metavar = self.metavar or (None if self.hint is bool else _name(self.hint))
        about = typer.Option(*names, help=self.explain(self.default), metavar=metavar)
        return inspect.Parameter(
            self.name.replace(".", _DOT),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind, about],
        )

    def explain(self, default: Any) -> str:
        """The option's help, with what it is when nobody says."""
        shown = " Can be given several times." if self.is_list else ""
        if default not in (dataclasses.MISSING, None, "", (), {}):
            shown += f" [default: {_show(default)}]"
        return self.summary + shown

    def word(self, value: Any) -> str:
        """`name=value`, as `read_config` takes it; "null" is none, as in YAML, where a setting may have none."""
        if value == "null" and type(None) in typing.get_args(self.hint):
            return f"{self.name}=null"
        if self.is_list or self.is_text:
            return f"{self.name}={json.dumps([str(item) for item in value] if self.is_list else str(value))}"
        return f"{self.name}={str(value).lower() if isinstance(value, bool) else value}"

    def read(self, value: Any) -> Any:
        """The value of the setting's type, from what the option was given: a text, a flag, or a list of texts.

        Raises:
            RequestError: It does not fit.
        """
        if self.hint in (int, float):
            with suppress(ValueError):
                value = self.hint(value)
        return convert(value, self.hint, self.option)


def list_settings(kind: type[Any], prefix: str = "") -> Iterator[Setting]:
    """Every setting of a dataclass, those of the dataclasses in it, too."""
    hints = typing.get_type_hints(kind)
    summaries = read_summaries(kind)
    for item in dataclasses.fields(kind):
        hint, name = hints[item.name], prefix + item.name
        if dataclasses.is_dataclass(hint):
            yield from list_settings(typing.cast("type[Any]", hint), f"{name}.")
            continue
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        flags = item.metadata.get("option", ())
        if flags is None:
            continue
        flags = (flags,) if isinstance(flags, str) else tuple(flags)
        yield Setting(name, hint, summaries.get(item.name, ""), default, flags)


def read_summaries(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass, and of those it is made from, say of each field; the first sentence."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, _, arguments = (inspect.getdoc(base) or "").partition("Args:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", arguments, re.MULTILINE):
            sentence = re.split(r"(?<=[.;])\s", " ".join(text.split()))[0].rstrip(".;")
            found[name] = f"{sentence}."
    return found


class SettingsReader(Generic[Config]):
    """From options to the settings of a command.

    What an option says comes before the file, the file before what is usual for the model and its weights, that before
    the defaults of the dataclass.

    Args:
        kind: The dataclass.
        find_defaults: Gives what is usual, by whole names, for settings that are only there to name model and weights;
            None where the dataclass says it all.
    """

    def __init__(self, kind: type[Config], find_defaults: Callable[[Config], Mapping[str, Any]] | None = None) -> None:
        self._kind, self._find_defaults = kind, find_defaults
        self.settings = list(list_settings(kind))

    def read(
        self, config: Path | None, options: Mapping[str, Any], *, lacking: Mapping[str, Any] | None = None
    ) -> Config:
        """The settings of a run.

        Args:
            config: A YAML file.
            options: What the options were given.
            lacking: Values by whole names of settings that nobody else gives.

        Raises:
            RequestError: Unknown names, with near-misses; values that do not fit.
        """
        given = {name.replace(_DOT, "."): value for name, value in options.items() if value not in (None, [])}
        words = [setting.word(given[setting.name]) for setting in self.settings if setting.name in given]
        named = read_config(self._kind, config, words, defaults=lacking)
        if self._find_defaults is None:
            return named
        return read_config(self._kind, config, words, defaults={**(lacking or {}), **self._find_defaults(named)})

    def command(
        self,
        run: Callable[..., None],
        extra: Mapping[str, Any],
        *,
        lacking: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Callable[..., None]:
        """A function with all settings as options, for Typer.

        `--config` names a YAML file of them, unless a field has this name.

        Args:
            run: Called with the settings and the further options.
            extra: Annotation and default of further options and arguments by name; those without a default (Ellipsis)
                are required.
            lacking: Values of settings, by whole names, that nobody has to give beside a further option that is set.
        """
        own_file = any(setting.name == "config" for setting in self.settings)
        shows_defaults = self._find_defaults is not None
        about_file = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
        further = dict(extra) if own_file else {"config": (about_file, None), **extra}

        def command(**options: Any) -> None:
            context, wants_help = options.pop(_CONTEXT, None), options.pop(_HELP, False)
            # A caller in Python may leave out what has a default.
            given = {name: options.pop(name, default) for name, (_, default) in further.items()}
            given.pop(_THREADS, None)  # has acted already
            file = None if own_file else given.pop("config")
            if wants_help:
                self._print_help(context, file, options)
                return
            absent = [values for name, values in (lacking or {}).items() if given[name]]
            run(self.read(file, options, lacking=absent[0] if absent else None), **given)

        parameters = [
            *(option(name, annotation, default) for name, (annotation, default) in further.items()),
            *(setting.parameter() for setting in self.settings),
        ]
        if shows_defaults:
            about_help = typer.Option("--help", "-h", help="Show this message, with the defaults of model and weights.")
            parameters.append(option(_CONTEXT, typer.Context, ...))
            parameters.append(option(_HELP, Annotated[bool, about_help], default=False))
        command.__doc__ = run.__doc__
        return with_options(command, parameters)

    def _print_help(self, context: typer.Context, config: Path | None, options: Mapping[str, Any]) -> None:
        """Print the help of the command that runs, with the defaults that hold for the other words given."""
        defaults = self._find_shown(config, options)
        for setting, parameter in ((one, other) for one in self.settings for other in context.command.params):
            if parameter.name == setting.name.replace(".", _DOT) and setting.name in defaults:
                parameter.help = setting.explain(defaults[setting.name])  # pyright: ignore[reportAttributeAccessIssue]
        typer.echo(context.get_help())

    def _find_shown(self, config: Path | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is usual for the model and weights that the words name; nothing where they name none that is there."""
        required = {setting.name: "unused" for setting in self.settings if setting.default is dataclasses.MISSING}
        given = {name.replace(_DOT, "."): value for name, value in options.items() if value not in (None, [])}
        words = [setting.word(given[setting.name]) for setting in self.settings if setting.name in given]
        try:
            named = read_config(self._kind, config, words, defaults=required)
            return self._find_defaults(named) if self._find_defaults else {}
        except EasyAnimateError:
            return {}


def with_options(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command, for Typer with these parameters."""
    command.context_settings = CONTEXT_SETTINGS  # pyright: ignore[reportFunctionMemberAccess]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def option(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    """A parameter that is written out; without a default (Ellipsis) it is required."""
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _use_threads(count: int | None) -> None:
    if count is not None:
        set_threads(count)


_THREADS = "threads"
THREADS_OPTION: tuple[Any, Any] = (
    Annotated[
        int | None,
        typer.Option(
            f"--{_THREADS}",
            metavar="INTEGER",
            help="Threads to compute with on the processor (one for each processor unless given).",
            callback=_use_threads,
            expose_value=False,
        ),
    ],
    None,
)
"""Annotation and default of an option that acts by itself, before the command; its argument is None."""


def _show(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | tuple | dict | bool) else str(value)


def _name(hint: Any) -> str:
    """What stands for a value in the help."""
    inner = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, inner))
    if typing.get_origin(hint) is tuple:
        return _name(inner[0]) if inner[0] in (str, Path) else "LIST"
    plain = inner[0] if inner and typing.get_origin(hint) is not dict else hint
    if typing.get_origin(plain) is typing.Literal:
        return _name(plain)
    return {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", bool: "true|false"}.get(plain, "MAPPING")
