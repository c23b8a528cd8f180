"""The stages that are installed, those of filters among them, and the rules that a data set was filtered with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from easyanimate_core import FilterSpec, StageSpec
from easyanimate_core.errors import PluginError, near_misses
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.rule import Threshold
from easyanimate_data.preparation.score import Score
from easyanimate_data.preparation.settings import FilterSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.preparation import Rule


def list_stages() -> dict[str, StageSpec]:
    """All stages by key."""
    plugins = load_plugins()
    return plugins.stages() | {key: make_stage(spec) for key, spec in plugins.filters().items()}


def find_stage(key: str, stages: Mapping[str, StageSpec] | None = None) -> StageSpec:
    """The stage with exactly this key, of `list_stages()` where none are given.

    Raises:
        PluginError: When there is none.
    """
    stages = list_stages() if stages is None else stages
    if key not in stages:
        raise PluginError(
            f"There is no stage {key}.", received=key, expected=", ".join(stages), fix=near_misses(key, stages)
        )
    return stages[key]


def make_stage(spec: FilterSpec) -> StageSpec:
    """The stage of a filter: it fills the filter's column and drops the clips whose number is out of bounds."""

    def bound(settings: FilterSettings) -> Threshold:
        return Threshold(spec.column, settings.minimum, settings.maximum)

    return StageSpec(
        key=spec.key,
        summary=spec.summary,
        settings=FilterSettings,
        work=partial(Score, key=spec.key) if spec.load else None,
        column=spec.column,
        rule=bound,
    )


def restore_rule(stage: str, noted: Mapping[str, Any]) -> Rule:
    """The rule that a data set notes for a stage.

    Raises:
        PluginError: When the stage has a rule of its own and is not installed any more.
    """
    if noted.keys() == {"column", "minimum", "maximum"}:  # known without the filter, which may be gone
        return Threshold(**noted)
    spec = find_stage(stage)
    rule: Any = spec.rule(spec.settings()) if spec.rule else None
    return replace(rule, **noted)
