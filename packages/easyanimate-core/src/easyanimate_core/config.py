"""Typed configuration of commands: a YAML file and `name=value` words onto a frozen dataclass, checked in one place.

A field has its type and its range: `max_steps: Annotated[int, Range(1)]`. No number is infinite or NaN.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.number_range import SHOWN, Range, find_hints, find_range
from easyanimate_core.target import Target

Config = TypeVar("Config")

_KINDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    tuple: "a list",
    dict: "names and values",
}
"""The types of settings in words."""

_MOST_BYTES = 16 * 2**20
"""A YAML file of settings is not larger."""


def read_config(
    kind: type[Config],
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Read a configuration.

    Args:
        kind: A dataclass; its fields, types and defaults are the schema. Dataclass fields nest.
        path: A YAML file, or None for the defaults.
        overrides: Words `name=value` or `outer.inner=value` that take precedence; values are YAML.
        defaults: Values by whole names (`outer.inner`) in place of the dataclass's own defaults.

    Raises:
        RequestError: For a file that cannot be read, an unknown name (near-misses are named), or a wrong type.
    """
    import yaml

    values: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(_read_text(path))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RequestError(f"The configuration {path} cannot be read: {error}", expected="a YAML file") from error
        if not isinstance(loaded, dict):
            raise RequestError(f"The configuration {path} holds no names.", expected="lines of `name: value`")
        values = typing.cast("dict[str, Any]", loaded)
    for name, value in (defaults or {}).items():
        _set_default(values, name.split("."), value)
    for word in overrides:
        name, sign, text = word.partition("=")
        if not sign:
            raise RequestError("An override has no value.", received=SHOWN.repr(word), expected="name=value")
        *outer, last = name.split(".")
        inner: Any = values
        try:
            for part in outer:
                if inner.get(part) is None:
                    inner[part] = {}
                inner = inner[part]
            inner[last] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
            raise RequestError(
                "An override does not fit.", received=SHOWN.repr(word), expected="name=value, in YAML"
            ) from error
    return _build(kind, values, prefix="")


def _set_default(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value where the file has none."""
    for part in path[:-1]:
        if values.get(part) is None:
            values[part] = {}
        inner: object = values[part]
        if not isinstance(inner, dict):
            return  # not what the schema has there, which is told when it is read
        values = typing.cast("dict[str, Any]", inner)
    values.setdefault(path[-1], value)


def _read_text(path: Path) -> str:
    """The text of a file that is one: a pipe or a device may have no end."""
    if path.exists() and not path.is_file():
        raise ValueError("this is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
    return path.read_text(encoding="utf-8-sig")


def _build(kind: type[Config], values: Mapping[str, Any], *, prefix: str) -> Config:
    """Make the dataclass from plain values, checking names and types on the way."""
    hints = find_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for name in values:
        if name not in known:
            raise RequestError(
                f"Unknown setting {prefix}{name}.",
                received=name,
                expected=", ".join(known),
                fix=near_misses(str(name), known),
            )
    parts = {name: convert(value, hints[name], prefix + name) for name, value in values.items()}
    missing = [
        prefix + item.name
        for item in dataclasses.fields(kind)  # pyright: ignore[reportArgumentType]
        if item.name not in parts and item.default is item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RequestError("A setting is missing.", received="nothing", expected=f"values for {', '.join(missing)}")
    return kind(**parts)


def read_options(function: Callable[..., Any], options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Bring options to what a function takes by keyword: the names, and types and ranges where it states them.

    Args:
        function: What the options are for.
        options: Plain values.
        name: Of the options as a whole, for the error: "data.options".

    Raises:
        RequestError: An unknown name (near-misses are named), one that is missing, or a value that does not fit.
    """
    signed = inspect.signature(function).parameters
    takes_any = any(item.kind is item.VAR_KEYWORD for item in signed.values())
    parameters = {
        key: item for key, item in signed.items() if item.kind in (item.KEYWORD_ONLY, item.POSITIONAL_OR_KEYWORD)
    }
    hints: Mapping[str, Any]
    try:
        hints = find_hints(function.resolve() if isinstance(function, Target) else function)
    except (NameError, TypeError, AttributeError):  # names that only a type checker knows
        hints = {}
    read: dict[str, Any] = {}
    for key, value in options.items():
        if key not in parameters and not takes_any:
            raise RequestError(
                f"Unknown setting {name}.{key}.",
                received=key,
                expected=", ".join(parameters) or "no options",
                fix=near_misses(str(key), parameters),
            )
        read[key] = convert(value, hints.get(key, Any), f"{name}.{key}")
    missing = [f"{name}.{key}" for key, item in parameters.items() if item.default is item.empty and key not in read]
    if missing:
        raise RequestError("A setting is missing.", received="nothing", expected=f"values for {', '.join(missing)}")
    return read


def convert(value: Any, hint: Any, name: str) -> Any:
    """Bring a value from YAML or JSON to a field's type and check its range: dataclasses, tuples, paths, numbers.

    Args:
        value: Plain values.
        hint: The type; a `Range` in its annotations holds for each number in it.
        name: Of the setting, for the error.

    Raises:
        RequestError: The value does not fit.
    """
    return _convert(value, hint, name, find_range(hint))


def _convert(value: Any, hint: Any, name: str, within: Range) -> Any:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        value = _convert_union(value, inner, name, within)
    elif origin is typing.Literal:
        value = _choose(value, inner, name)
    elif dataclasses.is_dataclass(hint) and (value is None or isinstance(value, Mapping)):
        # None is what YAML reads where all lines of a section are comments.
        value = _build(typing.cast("type[Any]", hint), typing.cast("Mapping[str, Any]", value or {}), prefix=f"{name}.")
    elif (origin, type(value)) in ((tuple, list), (dict, dict)):
        value = _convert_items(value, inner, name, within)
    elif hint in (int, float):
        value = _convert_number(value, hint, name, within)
    elif hint is Path and isinstance(value, str) and "\0" not in value:
        with suppress(RuntimeError):  # nobody has such a home folder
            value = Path(value).expanduser()
        value = Path(value)
    elif hint is not Any and not isinstance(value, typing.cast("type[Any]", origin or hint)):
        kind = "a group of settings" if dataclasses.is_dataclass(hint) else _KINDS.get(origin or hint, str(hint))
        raise RequestError(f"{name} must be {kind}.", received=SHOWN.repr(value), expected=kind)
    return value


def _choose(value: Any, known: Sequence[Any], name: str) -> Any:
    """Give back a value that is among those known."""
    value = "no" if value is False and "no" in known else value  # YAML reads `no` as false
    if value in known:
        return value
    raise RequestError(
        f"The setting {name} has no such value.", received=SHOWN.repr(value), expected=", ".join(map(str, known))
    )


def _convert_number(value: Any, kind: type[float], name: str, within: Range) -> float:
    """Bring a value to a number of a kind, within its range."""
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            value = float(value)  # YAML reads 1e-4 as text
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RequestError(
            f"{name} must be {_KINDS[kind]}.",
            received=SHOWN.repr(value),
            expected=", ".join(filter(None, (_KINDS[kind], str(within)))),
        )
    within.check(value, name)
    return value


def _convert_union(value: Any, kinds: Sequence[Any], name: str, within: Range) -> Any:
    """Bring a value to the first of the types that it fits; the error is that of the last."""
    if value is None and type(None) in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        with suppress(RequestError):
            return _convert(value, kind, name, within)
    return _convert(value, last, name, within)


def _convert_items(value: Any, inner: Sequence[Any], name: str, within: Range) -> Any:
    """Bring the items of a list, or the values of a mapping, to their types."""
    if isinstance(value, dict):
        entries = typing.cast("dict[str, Any]", value)
        return {key: _convert(entry, inner[1], f"{name}.{key}", within) for key, entry in entries.items()}
    return tuple(_convert(entry, inner[0], f"{name}[{i}]", within) for i, entry in enumerate(value))
