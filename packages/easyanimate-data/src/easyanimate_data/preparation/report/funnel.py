"""The funnel of the report: how many clips each stage left, and which reasons took the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyanimate_data.preparation.report.count import is_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from easyanimate_core.preparation import Rule

SPLIT = "split"
OTHER = "other rules"


@dataclass(frozen=True)
class Step:
    """A stage in the funnel.

    Args:
        stage: Its name.
        left: Clips that are still there after it.
        reasons: Why it dropped clips (splitting: why sources gave none) and how many, the most frequent first.
    """

    stage: str
    left: int
    reasons: list[tuple[str, int]]


def follow_clips(rows: Sequence[Mapping[str, Any]], rules: Mapping[str, Rule], stages: Iterable[str]) -> list[Step]:
    """Follow the clips from stage to stage.

    Args:
        rows: The clips table.
        rules: The rules by stage; they know their reasons.
        stages: Names of all stages that ran, in order; those of `rules` that are not among them come after.

    Returns:
        Splitting, then every other stage; reasons that belong to none make a last one.
    """
    clips = [row for row in rows if row.get("file_path")]
    empty = [row for row in rows if not row.get("file_path")]
    dropped = Counter(str(row["reason"]) for row in clips if not is_kept(row))
    by_stage: dict[str, Counter[str]] = {}
    for reason, count in dropped.items():
        by_stage.setdefault(_find_stage(reason, rules), Counter())[reason] = count
    order = dict.fromkeys([*stages, *rules, *sorted(by_stage)])
    steps = [Step(SPLIT, len(clips), _sort(Counter(_describe_empty(row) for row in empty)))]
    for stage in order:
        if stage != SPLIT:
            reasons = by_stage.get(stage, Counter())
            steps.append(Step(stage, steps[-1].left - reasons.total(), _sort(reasons)))
    return steps


def _find_stage(reason: str, rules: Mapping[str, Rule]) -> str:
    """The stage that gave this reason."""
    if reason.startswith("error in "):
        return reason.removeprefix("error in ")
    return next((stage for stage, rule in rules.items() if rule.gives(reason)), OTHER)


def _describe_empty(row: Mapping[str, Any]) -> str:
    return str(row.get("reason") or ("error" if row.get("error") else "no reason given"))


def _sort(reasons: Counter[str]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
