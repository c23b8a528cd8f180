"""Settings of `ea data prepare` and of its stages: what a YAML file for it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from easyanimate_core.errors import RequestError, near_misses

from easyanimate_data.preparation.scene import SplitConfig

DEFAULT_STAGES = ("split", "motion", "duplicates", "export")
"""Stages that need no extra to be installed."""

OTHER_STAGES = ("split", "caption", "rewrite", "export", "report")
"""Stages beside the filters, which plugins offer."""


@dataclass(frozen=True, kw_only=True)
class DuplicatesConfig:
    """Which clips look alike.

    Args:
        distance: Most bits, of the 192 of a perceptual hash, in which two clips that look alike differ.
    """

    distance: int = 12


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How text is written.

    Args:
        captioner: Key of the model plugin: "transformers", "openai", or one of another package.
        instruction: What the model is told; None takes the one that ships here.
        options: Passed to the captioner: model, base_url, ...
    """

    captioner: str = "transformers"
    instruction: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """How the training set is listed.

    Args:
        format: "json" as EasyAnimate trains on, or "csv".
        paths: "relative" to the data set's folder, or "absolute".
    """

    format: Literal["json", "csv"] = "json"
    paths: Literal["relative", "absolute"] = "relative"


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Everything that determines a data set.

    Args:
        stages: In order: split, filters by key, duplicates, caption, rewrite, export, report.
        compat: Reproduce the original's numbers where they differ from what is right.
        batch_size: Clips that a model looks at together.
        gpus_per_worker: Graphics cards for each worker on a Ray cluster.
        reader: What decodes clips: "pyav", or "decord" for H.264 and VP9.
        split: How videos are split.
        filters: By key, each with `minimum`, `maximum` (null: no bound) and `options` for its model.
        duplicates: Which clips look alike.
        caption: How captions are written.
        rewrite: How captions are rewritten.
        export: How the training set is listed.
    """

    stages: tuple[str, ...] = DEFAULT_STAGES
    compat: bool = False
    batch_size: int = 8
    gpus_per_worker: float = 0.0
    reader: Literal["pyav", "decord"] = "pyav"
    split: SplitConfig = field(default_factory=SplitConfig)
    filters: dict[str, Any] = field(default_factory=dict[str, Any])
    duplicates: DuplicatesConfig = field(default_factory=DuplicatesConfig)
    caption: TextConfig = field(default_factory=TextConfig)
    rewrite: TextConfig = field(default_factory=TextConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot work whatever the plugins offer."""
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise RequestError(
                "Each stage stands once.", received=", ".join(self.stages) or "none", expected="split,motion,export"
            )
        if self.batch_size < 1:
            raise RequestError("A batch has clips.", received=self.batch_size, expected="batch_size of 1 or more")
        split = self.split
        if not 0 < split.min_seconds <= split.max_seconds:
            raise RequestError(
                "These lengths of clips do not fit together.",
                received=f"min_seconds {split.min_seconds}, max_seconds {split.max_seconds}",
                expected="0 < min_seconds <= max_seconds",
            )

    def filter_settings(self, key: str) -> FilterSettings:
        """Bounds and options of a filter.

        Raises:
            RequestError: For a setting that no filter has, or of the wrong type.
        """
        given = self.filters.get(key) or {}
        known = ("minimum", "maximum", "options")
        if not isinstance(given, dict):
            raise RequestError(f"filters.{key} holds no names.", received=repr(given), expected=", ".join(known))
        for name, value in given.items():
            if name not in known:
                raise RequestError(
                    f"Unknown setting filters.{key}.{name}.",
                    received=name,
                    expected=", ".join(known),
                    fix=near_misses(name, known),
                )
            if name == "options":
                if not isinstance(value, dict):
                    raise RequestError(f"filters.{key}.options holds no names.", received=repr(value))
            elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise RequestError(
                    f"filters.{key}.{name} is no number.", received=repr(value), expected="a number, or null"
                )
        return FilterSettings(dict(given.get("options") or {}), {k: v for k, v in given.items() if k != "options"})


@dataclass(frozen=True)
class FilterSettings:
    """What the user says of a filter.

    Args:
        options: For its model.
        bounds: `minimum` and `maximum`, as far as they were given.
    """

    options: dict[str, Any]
    bounds: dict[str, float | None]
