"""Typed configuration of long-running commands: a YAML file and `name=value` words onto a frozen dataclass."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from easyanimate_core.errors import RequestError, near_misses

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
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RequestError(f"The configuration {path} cannot be read: {error}", expected="a YAML file") from error
        if not isinstance(loaded, dict):
            raise RequestError(f"The configuration {path} holds no names.", expected="lines of `name: value`")
        values = typing.cast("dict[str, Any]", loaded)
    for name, value in (defaults or {}).items():
        _set_default(values, name.split("."), value)
    for word in overrides:
        name, sign, text = word.partition("=")
        if not sign:
            raise RequestError("An override has no value.", received=word, expected="name=value")
        *outer, last = name.split(".")
        inner: Any = values
        try:
            for part in outer:
                if inner.get(part) is None:
                    inner[part] = {}
                inner = inner[part]
            inner[last] = yaml.safe_load(text)
        except (yaml.YAMLError, TypeError, AttributeError) as error:
            raise RequestError("An override does not fit.", received=word, expected="name=value, in YAML") from error
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


def _build(kind: type[Config], values: Mapping[str, Any], *, prefix: str) -> Config:
    """Make the dataclass from plain values, checking names and types on the way."""
    hints = typing.get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for name in values:
        if name not in known:
            raise RequestError(
                f"Unknown setting {prefix}{name}.",
                received=name,
                expected=", ".join(known),
                fix=near_misses(name, known),
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


def convert(value: Any, hint: Any, name: str) -> Any:
    """Bring a value from YAML or JSON to a field's type: nested dataclasses, tuples, paths, numbers.

    Args:
        value: Plain values.
        hint: The type.
        name: Of the setting, for the error.

    Raises:
        RequestError: The value does not fit.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return convert(value, next(part for part in inner if part is not type(None)), name)
    if dataclasses.is_dataclass(hint) and (value is None or isinstance(value, Mapping)):
        # None is what YAML reads where all lines of a section are comments.
        return _build(typing.cast("type[Any]", hint), typing.cast("Mapping[str, Any]", value or {}), prefix=f"{name}.")
    if (origin, type(value)) in ((tuple, list), (dict, dict)):
        return _convert_items(value, inner, name)
    if hint is Path and isinstance(value, str):
        value = Path(value)
    elif hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError):
            value = float(value)  # YAML reads 1e-4 as text
    if origin is typing.Literal:
        value = "no" if value is False and "no" in inner else value  # YAML reads `no` as false
        if value in inner:
            return value
        raise RequestError(
            f"The setting {name} has no such value.", received=repr(value), expected=", ".join(map(str, inner))
        )
    plain: Any = origin or hint
    if hint is Any or (isinstance(value, plain) and not (plain is int and isinstance(value, bool))):
        return value
    kind = "a group of settings" if dataclasses.is_dataclass(hint) else _KINDS.get(plain, str(hint))
    raise RequestError(f"{name} must be {kind}.", received=repr(value))


def _convert_items(value: Any, inner: Sequence[Any], name: str) -> Any:
    """Bring the items of a list, or the values of a mapping, to their types."""
    if isinstance(value, dict):
        entries = typing.cast("dict[str, Any]", value)
        return {key: convert(entry, inner[1], f"{name}.{key}") for key, entry in entries.items()}
    return tuple(convert(entry, inner[0], f"{name}[{i}]") for i, entry in enumerate(value))
