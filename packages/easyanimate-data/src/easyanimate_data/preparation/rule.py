"""Which clips are kept: rules that are applied one after the other, and why each dropped clip went."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeGuard

from easyanimate_core.errors import MediaError

from easyanimate_data.preparation.duplicate import find_duplicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_data.preparation.table import ClipTable


ALIKE = "looks like another clip"
"""The reason for dropping a duplicate."""


class Rule(Protocol):
    """What drops clips."""

    def find_dropped(self, table: ClipTable, places: Sequence[int], *, compat: bool) -> dict[int, str]:
        """The reason for each of these rows that is dropped."""
        ...


@dataclass(frozen=True)
class Threshold:
    """Keeps clips whose number is in a range.

    Args:
        column: Of the table.
        minimum: The least that is kept; None sets no bound.
        maximum: The most that is kept.
    """

    column: str
    minimum: float | None = None
    maximum: float | None = None

    def find_dropped(self, table: ClipTable, places: Sequence[int], *, compat: bool) -> dict[int, str]:
        """Out of the range, or without a number (with `compat` that one passes)."""
        if self.minimum is None and self.maximum is None:
            return {}
        values = table.column(self.column)
        return {place: reason for place in places if (reason := self._judge(values[place], compat=compat))}

    def _judge(self, value: object, *, compat: bool) -> str | None:
        if not _is_number(value):
            return None if compat else f"no {self.column}"
        if self.minimum is not None and value < self.minimum:
            return f"{self.column} < {self.minimum:g}"
        return f"{self.column} > {self.maximum:g}" if self.maximum is not None and value > self.maximum else None


@dataclass(frozen=True)
class Unalike:
    """Keeps the first of clips that look alike.

    Args:
        distance: Most bits, of 192, in which two clips that look alike differ.
    """

    distance: int = 12

    def find_dropped(self, table: ClipTable, places: Sequence[int], *, compat: bool) -> dict[int, str]:
        """What looks like an earlier clip that is kept; `duplicate_of` then names that one."""
        del compat
        hashes, names, twins = (table.column(name) for name in ("perceptual_hash", "file_path", "duplicate_of"))
        twins[:] = [None] * len(twins)
        found = find_duplicates({place: hashes[place] for place in places if hashes[place]}, self.distance)
        for place, twin in found.items():
            twins[place] = names[twin]
        return dict.fromkeys(found, ALIKE)


def apply_rules(table: ClipTable, rules: Iterable[Rule], *, compat: bool = False) -> None:
    """Decide anew for every clip why it is dropped, or that it is not.

    A clip is dropped by the first rule it breaks, and later rules do not see it. What could not be processed is dropped
    because of its error. Rows without a clip keep the reason that splitting gave.

    Args:
        table: Its column `reason` is written.
        rules: In order.
        compat: As the original: of the thresholds only the last one counts, and what has no score passes.
    """
    paths, errors, reasons = (table.column(name) for name in ("file_path", "error", "reason"))
    clips = [place for place, path in enumerate(paths) if path is not None]
    for place in clips:
        reasons[place] = None
    rules = list(rules)
    if compat:
        passed_over = [rule for rule in rules if isinstance(rule, Threshold)][:-1]
        rules = [rule for rule in rules if rule not in passed_over]
    for rule in rules:
        kept = [place for place in clips if reasons[place] is None]
        for place, reason in rule.find_dropped(table, kept, compat=compat).items():
            reasons[place] = reason
    # Last, so that a clip that fails late still stands for those that look like it.
    for place, error in enumerate(errors):
        if error:
            reasons[place] = f"error in {error.partition(':')[0]}"


def refuse_nothing_left(table: ClipTable, stage: str, column: str | None) -> None:
    """Stop when a stage dropped the last clip.

    Raises:
        MediaError: With the stage's errors, or the distribution of its numbers, and what to do.
    """
    reasons = table.column("reason")
    clips = [place for place, path in enumerate(table.column("file_path")) if path is not None]
    if any(reasons[place] is None for place in clips) or not clips:
        return
    last = sorted({reasons[place] for place in clips if column and reasons[place].find(column) >= 0})
    received = "; ".join(last) or "; ".join(sorted({reasons[place] for place in clips}))
    ways: list[str] = []
    if column:
        received += f"; {column}: {describe_numbers(table.column(column))}"
        ways.append(f"--resume and another bound, such as --min {stage}=NUMBER")
    failed = Counter(error for error in table.column("error") if error and error.startswith(f"{stage}: "))
    if failed:
        received += f"; {failed.total()} with an error, most often {failed.most_common(1)[0][0]}"
        ways.append("--retry-errors")
    fix = "; ".join(["see why: ea data report", *(f"run again with {way}" for way in ways)])
    raise MediaError(
        f"After the stage {stage} no clip is left.",
        received=received,
        expected="at least one clip that is kept",
        fix=fix,
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not math.isnan(value)


def describe_numbers(values: Iterable[object]) -> str:
    """Least, quartiles and most of the numbers that are there."""
    import numpy as np

    numbers = [value for value in values if _is_number(value)]
    if not numbers:
        return "no numbers"
    low, first, middle, third, high = np.quantile(numbers, (0, 0.25, 0.5, 0.75, 1))
    return (
        f"{len(numbers)} clips from {low:.4g} to {high:.4g}, half of them between {first:.4g} and {third:.4g}, "
        f"median {middle:.4g}"
    )
