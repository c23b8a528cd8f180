"""What every EasyAnimate package and plugin shares: hooks, interfaces, shapes, weights, video files."""

from easyanimate_core.errors import EasyAnimateError, MediaError, PluginError, RequestError, WeightsError
from easyanimate_core.hookspecs import hookimpl
from easyanimate_core.preparation import CaptionerSpec, FilterSpec, FrameChoice, StageContext, StageSpec, Work
from easyanimate_core.request import Defaults, Progress, Task, TrainedRange, Video, VideoRequest
from easyanimate_core.shapes import LatentShape, PixelShape, ShapeRule
from easyanimate_core.spec import (
    CommandSpec,
    DatasetSpec,
    LoadOptions,
    LoraFile,
    ModelSpec,
    PartFile,
    SchedulerSpec,
    WeightsSource,
)
from easyanimate_core.weights_folder import WeightsFolder

__all__ = [
    "CaptionerSpec",
    "CommandSpec",
    "DatasetSpec",
    "Defaults",
    "EasyAnimateError",
    "FilterSpec",
    "FrameChoice",
    "LatentShape",
    "LoadOptions",
    "LoraFile",
    "MediaError",
    "ModelSpec",
    "PartFile",
    "PixelShape",
    "PluginError",
    "Progress",
    "RequestError",
    "SchedulerSpec",
    "ShapeRule",
    "StageContext",
    "StageSpec",
    "Task",
    "TrainedRange",
    "Video",
    "VideoRequest",
    "WeightsError",
    "WeightsFolder",
    "WeightsSource",
    "Work",
    "hookimpl",
]
