"""Every hook that a plugin can implement, on one screen.

A plugin is a module named by an entry point of the group `easyanimate`.
Its hooks return iterables of frozen dataclasses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core.preparation import CaptionerSpec, FilterSpec, StageSpec
    from easyanimate_core.spec import CommandSpec, DatasetSpec, ModelSpec, SchedulerSpec, WeightsSource

PROJECT = "easyanimate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ea_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Model versions for `ea run --model KEY`: `yield ModelSpec(key="mine", summary="...", load=load)`."""


@hookspec
def ea_weights() -> Iterable[WeightsSource]:  # type: ignore[empty-body]
    """Weights by name: `yield WeightsSource(model="mine", name="tiny", summary="...", licence="MIT", path=FOLDER)`."""


@hookspec
def ea_schedulers() -> Iterable[SchedulerSpec]:  # type: ignore[empty-body]
    """Samplers for `--sampler`: `yield SchedulerSpec(name="heun", summary="...", create=HeunScheduler.from_config)`."""


@hookspec
def ea_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Kinds of training data: `yield DatasetSpec(key="webdataset", summary="...", load=open_shards)`."""


@hookspec
def ea_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Commands of `ea`: `yield CommandSpec(group="data", name="count", summary="...", load=load_count)`."""


@hookspec
def ea_filters() -> Iterable[FilterSpec]:  # type: ignore[empty-body]
    """Scores of clips for `ea data prepare`: `yield FilterSpec(key="light", summary="...", load=load, minimum=0.1)`."""


@hookspec
def ea_stages() -> Iterable[StageSpec]:  # type: ignore[empty-body]
    """Stages of `ea data prepare`: `yield StageSpec(key="list", summary="...", write="my_package.listing:write")`."""


@hookspec
def ea_captioners() -> Iterable[CaptionerSpec]:  # type: ignore[empty-body]
    """Models that write captions: `yield CaptionerSpec(key="mine", summary="...", load=load)`."""
