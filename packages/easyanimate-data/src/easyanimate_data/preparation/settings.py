"""Settings of `ea data prepare` and of its stages: what a YAML file for it holds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from easyanimate_core import StageContext
from easyanimate_core.config import read_config
from easyanimate_core.errors import PluginError, RequestError, near_misses
from easyanimate_core.number_range import NOT_NEGATIVE, Range, check_ranges
from easyanimate_core.registry import load_plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_STAGES = ("split", "motion", "duplicates", "export")
"""Stages that need no extra to be installed."""


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """Settings of a filter.

    Args:
        minimum: The least score that is kept; null sets no bound.
        maximum: The greatest score that is kept; null sets no bound.
        options: Options of the filter's model: device, dtype, ...
    """

    minimum: float | None = None
    maximum: float | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """Everything that determines a data set; `read_settings` adds a field for the settings of each stage.

    Args:
        stages: Stages in the order in which they run.
        compat: Give the original's numbers where they differ from what is right.
        batch_size: Clips that a model looks at together.
        gpus_per_worker: Graphics cards for each worker on a Ray cluster.
        reader: What decodes clips: "pyav", or "decord" for H.264 and VP9.
        filters: Settings of filters by key.
    """

    stages: tuple[str, ...] = DEFAULT_STAGES
    compat: bool = False
    batch_size: Annotated[int, Range(1)] = 8
    gpus_per_worker: Annotated[float, NOT_NEGATIVE] = 0.0
    reader: Literal["pyav", "decord"] = "pyav"
    filters: dict[str, FilterSettings] = field(default_factory=dict[str, FilterSettings])

    def __post_init__(self) -> None:
        """Refuse what cannot work whatever the plugins offer."""
        check_ranges(self)
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise RequestError(
                "stages must name at least one stage, and each only once.",
                received=", ".join(self.stages) or "none",
                expected="such as split,motion,export",
            )

    def settings_of(self, stage: str) -> Any:
        """The settings of a stage that is installed."""
        if stage in self.filters:
            return self.filters[stage]
        return getattr(self, _name_field(stage))

    def make_context(self, dataset: Path, input_folder: Path | None = None) -> StageContext:
        """What every stage is told beside its own settings."""
        return StageContext(
            dataset=_resolve(dataset),
            input=None if input_folder is None else _resolve(input_folder),
            reader=self.reader,
            batch_size=self.batch_size,
            gpus_per_worker=self.gpus_per_worker,
            compat=self.compat,
        )


def read_settings(path: Path | None = None, words: Sequence[str] = ()) -> PrepareSettings:
    """Read the settings of all stages that are installed.

    Args:
        path: A YAML file, or None.
        words: `name=value`, such as `split.min_seconds=2` or `filters.motion.minimum=3`.

    Raises:
        RequestError: For an unknown name or a value that does not fit.
        PluginError: When a plugin's stage has the name of a filter or of another setting.
    """
    plugins = load_plugins()
    stages, filters = plugins.stages(), plugins.filters()
    taken = {item.name for item in fields(PrepareSettings)} | filters.keys()
    for key in stages:
        if key in taken:
            raise PluginError(
                f"The stage {key} has the name of a filter or of a setting.",
                expected="another key",
                fix="see which package brings it: ea plugins",
            )
    sections = [
        (_name_field(spec.key), spec.settings, field(default_factory=spec.settings)) for spec in stages.values()
    ]
    kind = make_dataclass("PrepareSettings", sections, bases=(PrepareSettings,), frozen=True, kw_only=True)
    bounds = {
        f"filters.{key}.{name}": value
        for key, spec in filters.items()
        for name, value in (("minimum", spec.minimum), ("maximum", spec.maximum))
    }
    settings = read_config(kind, path, words, defaults=bounds)
    for keys, known in ((settings.stages, (*stages, *filters)), (settings.filters, tuple(filters))):
        for key in keys:
            if key not in known:
                raise RequestError(
                    f"There is no stage {key}.", received=key, expected=", ".join(known), fix=near_misses(key, known)
                )
    return settings


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `Path.resolve` fails at links that lead to themselves


def _name_field(stage: str) -> str:
    return stage.replace("-", "_")
