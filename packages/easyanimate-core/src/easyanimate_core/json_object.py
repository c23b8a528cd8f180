"""JSON that others wrote, believed in nothing: bounded in size and depth, read by key with type and range.

settings = read_object(folder / "config.json")
layers = settings.count("num_layers", least=1, most=1000)
rate = settings.number("fps", 24.0, most=1000) # 24.0 where the key is missing or null
seed = settings.count("seed") if "seed" in settings else None
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

from easyanimate_core.errors import EasyAnimateError, WeightsError, near_misses
from easyanimate_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

MAX_BYTES = 8_000_000
"""Longest text that is parsed where the caller says nothing else; configurations have some thousand bytes."""
MAX_DEPTH = 64
"""Deepest nesting; configurations have some five levels."""
MAX_COUNT = 2**53
"""Largest whole number: beyond it JSON's readers do not agree."""
MAX_TEXT = 100_000
"""Longest text value, in characters."""
_MAX_SHOWN = 200


@dataclass(frozen=True)
class JsonObject:
    """A JSON object whose values are asked for by key, type and range; what does not fit is an error that names it.

    A key that is missing or null gives the default; without a default it must be there. `key in fields` tells whether
    it is there and not null.

    Args:
        values: The plain values, as `json` gives them; all numbers are finite.
        source: What errors call the whole: a path.
        prefix: Keys that lead here, each followed by a dot.
        error: Class of the errors.
    """

    values: Mapping[str, Any]
    source: str
    prefix: str = ""
    error: type[EasyAnimateError] = WeightsError

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        """The keys, those of null too."""
        return iter(self.values)

    def text(
        self,
        key: str,
        default: str | None = None,
        *,
        accepted: Collection[str] = (),
        least: int = 0,
        most: int = MAX_TEXT,
    ) -> str:
        """A text of `least` to `most` characters that UTF-8 can write; one of `accepted` unless that is empty."""
        value = self._value(key, default)
        if accepted:
            expected = ", ".join(accepted)
            if not isinstance(value, str) or value not in accepted:
                raise self.refuse(
                    key, value, expected, near_misses(value, accepted) if isinstance(value, str) else None
                )
            return value
        if not isinstance(value, str) or not least <= len(value) <= most or not _is_unicode(value):
            at_least = f"{least} to " if least else "at most "
            raise self.refuse(key, value, f"a text of {at_least}{most:,} characters")
        return value

    def count(self, key: str, default: int | None = None, *, least: int = 0, most: int = MAX_COUNT) -> int:
        """A whole number from `least` to `most`; 3.0 is none."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.refuse(key, value, f"a whole number from {least:,} to {most:,}")
        return value

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        least: float = -1e30,
        most: float = 1e30,
        above: float | None = None,
    ) -> float:
        """A number from `least` to `most`, greater than `above` where that is given."""
        value = self._value(key, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
        if not fits or (above is not None and value <= above):
            lower = f"above {above:g}, at most" if above is not None else f"from {least:g} to"
            raise self.refuse(key, value, f"a number {lower} {most:g}")
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, value, "true or false")
        return value

    def object(self, key: str, default: Mapping[str, Any] | None = None) -> JsonObject:
        """The object below a key."""
        return self._child(key, self._value(key, default))

    def objects(self, key: str, default: Collection[Any] | None = None, *, most: int = 100_000) -> list[JsonObject]:
        """A list of at most `most` objects."""
        return [self._child(f"{key}[{i}]", item) for i, item in enumerate(self.items(key, default, most=most))]

    def texts(self, key: str, default: Collection[str] | None = None, *, most: int = 100_000) -> list[str]:
        """A list of at most `most` texts."""
        return [item.text(name) for item, name in self._each(key, default, most)]

    def counts(
        self,
        key: str,
        default: Collection[int] | None = None,
        *,
        least: int = 0,
        largest: int = MAX_COUNT,
        most: int = 64,
    ) -> list[int]:
        """A list of at most `most` whole numbers from `least` to `largest`."""
        return [item.count(name, least=least, most=largest) for item, name in self._each(key, default, most)]

    def items(self, key: str, default: Collection[Any] | None = None, *, most: int = 100_000) -> list[Any]:
        """A list of at most `most` values of any kind."""
        value = self._value(key, default)
        if not isinstance(value, list | tuple):
            raise self.refuse(key, value, "a list")
        found = list(cast("Collection[Any]", value))
        if len(found) > most:
            raise self.refuse(key, f"a list of {len(found):,}", f"a list of at most {most:,}")
        return found

    def only(self, known: Collection[str]) -> None:
        """Raise an error for a key that is not in `known`."""
        unknown = [key for key in self.values if key not in known]
        if unknown:
            hints = [hint for key in unknown[:4] if (hint := near_misses(key, known))]
            raise self.error(
                f"Unknown {self.prefix or 'values.'}{shorten(unknown[0])} in {self.source}",
                received=shorten(", ".join(unknown)),
                expected=", ".join(known),
                fix="; ".join(hints) or None,
            )

    def refuse(self, key: str, received: object, expected: str, fix: str | None = None) -> EasyAnimateError:
        """The error for a value that does not fit; to be raised."""
        return self.error(
            f"{self.prefix}{shorten(key)} does not fit in {self.source}",
            received=shorten(received),
            expected=expected,
            fix=fix,
        )

    def _value(self, key: str, default: object) -> Any:
        value = self.values.get(key)
        if value is not None:
            return value
        if default is None:
            raise self.error(
                f"{self.prefix}{shorten(key)} is missing in {self.source}",
                received="null" if key in self.values else f"the keys {shorten(', '.join(self.values)) or 'none'}",
                expected=self.prefix + key,
            )
        return default

    def _child(self, key: str, value: object) -> JsonObject:
        if not isinstance(value, dict):
            raise self.refuse(key, value, "names and values")
        return JsonObject(cast("dict[str, Any]", value), self.source, f"{self.prefix}{shorten(key)}.", self.error)

    def _each(self, key: str, default: Collection[Any] | None, most: int) -> Iterator[tuple[JsonObject, str]]:
        """Each item of a list, as the only value of an object, so that it is asked for as any other."""
        for index, value in enumerate(self.items(key, default, most=most)):
            name = f"{key}[{index}]"
            yield JsonObject({name: value}, self.source, self.prefix, self.error), name


def read_object(path: Path, *, max_bytes: int = MAX_BYTES, error: type[EasyAnimateError] = WeightsError) -> JsonObject:
    """Read a file that holds a JSON object.

    Raises:
        EasyAnimateError: Of the class `error`: the file is none or too long, or see `parse_object`.
    """
    try:
        if not path.is_file():  # a FIFO or a device would never end
            raise error(
                f"There is no file {path}",
                received="something else" if path.exists() else "nothing there",
                expected="a JSON file",
            )
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as reason:  # ValueError: NUL in its name
        raise error(f"The file cannot be read: {path}", received=reason, expected="a JSON file") from reason
    return parse_object(content, str(path), max_bytes=max_bytes, error=error)


def parse_object(
    content: str | bytes, source: str, *, max_bytes: int = MAX_BYTES, error: type[EasyAnimateError] = WeightsError
) -> JsonObject:
    """Parse a JSON object.

    Args:
        content: JSON, as UTF-8 where it is bytes.
        source: What errors call it: a path.
        max_bytes: Longest content.
        error: Class of the errors.

    Raises:
        EasyAnimateError: It is no JSON, no object, too long, nested deeper than `MAX_DEPTH`, has a key twice, or holds
            NaN, infinity or a number that no computer holds.
    """
    if len(content) > max_bytes:
        raise error(f"There is too much JSON in {source}", expected=f"at most {max_bytes:,} bytes")
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        value: object = json.loads(
            text, object_pairs_hook=_unite, parse_constant=_refuse_constant, parse_float=_parse_float
        )
        _check_depth(value)
    except (ValueError, RecursionError) as reason:
        why = "nested too deeply" if isinstance(reason, RecursionError) else shorten(str(reason))
        raise error(f"This is no JSON that can be read: {source}", received=why, expected="a JSON object") from reason
    if not isinstance(value, dict):
        raise error(f"The file holds no names and values: {source}", received=shorten(value), expected="a JSON object")
    return JsonObject(cast("dict[str, Any]", value), source, error=error)


def shorten(value: object) -> str:
    """A value for an error: its beginning, on one line."""
    text = printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _unite(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    united = dict(pairs)
    if len(united) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {shorten(twice)} stands there twice")
    return united


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {shorten(text)} is too large")
    return value


def _check_depth(value: object) -> None:
    """Raise `RecursionError` for what `json` still reads, but others would stumble over."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(cast("dict[str, object]", item).values())
            elif isinstance(item, list):
                inner.extend(cast("list[object]", item))
        if not inner:
            return
        level = inner
    raise RecursionError


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can spell but no terminal and no file takes."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
