"""Which numbers a setting may have, stated beside its type: `max_steps: Annotated[int, Range(1)]`."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import typing
from functools import lru_cache
from typing import Annotated, Any

from easyanimate_core.errors import RequestError

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_WHOLE = 2**63 - 1
"""Whole numbers are not larger, whatever their range says."""

SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = SHOWN.maxlong = 80
"""Shows the beginning of a wrong value: what somebody else wrote may be of any size."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Which numbers a setting may have, beside its type; of a list, each of its numbers.

    Args:
        least: The least of them.
        most: The greatest.
        above: They are greater than this.
        below: They are less than this.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        """The bounds in words: "from 0 to 1", "at least 0 and below 1"; empty where there are none."""
        if self.least is not None and self.most is not None:
            return f"from {_write(self.least)} to {_write(self.most)}"
        bounds = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {_write(bound)}" for word, bound in bounds if bound is not None)

    def holds(self, value: float) -> bool:
        """Whether a number is among them; NaN, infinity and whole numbers beyond 64 bits never are."""
        return (
            (abs(value) <= _MOST_WHOLE if isinstance(value, int) else math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def check(self, value: float, name: str) -> None:
        """Refuse a number that is not among them.

        Raises:
            RequestError: Naming the setting and what is accepted.
        """
        if not self.holds(value):
            kind = "a whole number" if isinstance(value, int) else "a finite number"
            raise RequestError(
                f"{name} is out of range.",
                received=SHOWN.repr(value),
                expected=", ".join(filter(None, (kind, str(self)))),
            )


def _write(bound: float) -> str:
    """A bound, without the fraction of a whole one."""
    return str(int(bound)) if bound == int(bound) else str(bound)


_ANY = Range()
SHARE = Range(0, 1)
"""A part of the whole."""
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(0)


@lru_cache
def find_hints(kind: Any) -> Mapping[str, Any]:
    """The types, with their ranges, of the fields of a dataclass or the parameters of a function."""
    return typing.get_type_hints(kind, include_extras=True)


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Refuse numbers out of the ranges that a dataclass states, where it is made without `read_config`.

    Args:
        settings: Calls this in its `__post_init__`.
        prefix: Goes before the names of its fields: "data.".

    Raises:
        RequestError: Naming the field and what is accepted.
    """
    hints = find_hints(typing.cast("Any", type(settings)))
    for item in dataclasses.fields(settings):
        _check_value(getattr(settings, item.name), find_range(hints[item.name]), prefix + item.name)


def find_range(hint: Any) -> Range:
    """The range that a type states, or one that holds all finite numbers."""
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    inner = (find_range(part) for part in typing.get_args(hint) if typing.get_origin(hint) is not Annotated)
    return next((note for note in (*notes, *inner) if isinstance(note, Range) and note != _ANY), _ANY)


def _check_value(value: Any, within: Range, name: str) -> None:
    if isinstance(value, tuple):
        for index, entry in enumerate(typing.cast("tuple[Any, ...]", value)):
            _check_value(entry, within, f"{name}[{index}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        within.check(value, name)
