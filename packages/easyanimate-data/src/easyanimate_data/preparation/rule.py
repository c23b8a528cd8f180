"""Which clips are kept: bounds of scores, rules that are applied one after the other, why each dropped clip went."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from easyanimate_core.preparation import ClipTable, Rule


@dataclass(frozen=True)
class Threshold:
    """Keeps clips whose number is in a range.

    Args:
        column: Column of the table.
        minimum: The least that is kept; None sets no bound.
        maximum: The most that is kept; None sets no bound.
    """

    column: str
    minimum: float | None = None
    maximum: float | None = None

    def find_dropped(self, table: ClipTable, indices: Sequence[int], *, compat: bool) -> dict[int, str]:
        """Clips out of the range, or without a number (with `compat` those pass).

        An image without a number passes: it has no length, and nothing moves in it.
        """
        if self.minimum is None and self.maximum is None:
            return {}
        values, kinds = table.column(self.column), table.column("type")
        judged = [index for index in indices if values[index] is not None or kinds[index] != "image"]
        return {index: reason for index in judged if (reason := self._judge(values[index], compat=compat))}

    def gives(self, reason: str) -> bool:
        """Whether a reason names the column: "motion_score < 2", "no motion_score"."""
        return self.column in reason.split()

    @property
    def reason_without(self) -> str:
        """Why clips without a number are dropped."""
        return f"no {self.column}"

    def keeps(self, value: float) -> bool:
        """Whether a number is in the range."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def _judge(self, value: object, *, compat: bool) -> str | None:
        if not _is_number(value):
            return None if compat else self.reason_without
        if self.keeps(value):
            return None
        too_small = self.minimum is not None and value < self.minimum
        return f"{self.column} < {self.minimum:g}" if too_small else f"{self.column} > {self.maximum:g}"


def apply_rules(
    table: ClipTable, rules: Iterable[Rule], *, compat: bool = False, waiting: Collection[int] = ()
) -> None:
    """Decide anew for every clip why it is dropped, or that it is not.

    A clip is dropped by the first rule it breaks, and later rules do not see it. What could not be processed is dropped
    because of its error. Rows without a clip keep the reason that splitting gave.

    Args:
        table: Its column `reason` is written.
        rules: In order.
        compat: As the original: of the thresholds only the last one counts, and what has no score passes.
        waiting: Rows whose caption is still to be written, and which so have no score that needs one.
    """
    paths, errors, reasons = (table.column(name) for name in ("file_path", "error", "reason"))
    clips = [index for index, path in enumerate(paths) if path is not None]
    for index in clips:
        reasons[index] = None
    rules = list(rules)
    if compat:
        passed_over = [rule for rule in rules if isinstance(rule, Threshold)][:-1]
        rules = [rule for rule in rules if rule not in passed_over]
    for rule in rules:
        kept = [index for index in clips if reasons[index] is None]
        for index, reason in rule.find_dropped(table, kept, compat=compat).items():
            if not (index in waiting and isinstance(rule, Threshold) and reason == rule.reason_without):
                reasons[index] = reason
    # Last, so that a clip that fails late still stands for those that look like it.
    for index, error in enumerate(errors):
        if error:
            reasons[index] = f"error in {error.partition(':')[0]}"


def refuse_nothing_left(table: ClipTable, stage: str, column: str | None) -> None:
    """Stop when a stage dropped the last clip.

    Args:
        table: The clips.
        stage: The stage that ran.
        column: The score whose bounds can be changed; None for a stage without bounds.

    Raises:
        MediaError: With the stage's errors, or the distribution of its scores, and what to do.
    """
    reasons = table.column("reason")
    clips = [index for index, path in enumerate(table.column("file_path")) if path is not None]
    if any(reasons[index] is None for index in clips) or not clips:
        return
    own = sorted({reasons[index] for index in clips if column and column in reasons[index]})
    received = "; ".join(own) or "; ".join(sorted({reasons[index] for index in clips}))
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


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not math.isnan(value)
