"""What plugins hand over and what pipelines take and give: frozen dataclasses that validate themselves.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError
from easyanimate_core.target import Later, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from easyanimate_core.dataset import Batchable, VideoDataset
    from easyanimate_core.interfaces import VideoPipeline
    from easyanimate_core.shapes import ShapeRule


class Task(StrEnum):
    """What a model can be asked for."""

    TEXT_TO_VIDEO = "text-to-video"
    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_VIDEO = "image-to-video"
    VIDEO_TO_VIDEO = "video-to-video"


@dataclass(frozen=True)
class Defaults:
    """Values a request takes where the user gave none.

    A model has its own; weights may carry others in `easyanimate.json` beside `model_index.json`.
    """

    height: int = 384
    width: int = 672
    num_frames: int = 72
    fps: int = 24
    num_inference_steps: int = 25
    guidance_scale: float = 7.0
    sampler: str = "euler"


@dataclass(frozen=True)
class TrainedRange:
    """What weights were trained on; a request far from it is warned of.

    Args:
        min_frames: Shortest clip, an image apart.
        max_frames: Longest clip.
        min_side: Side of a square with as many pixels as the smallest training resolution.
        max_side: The same of the largest.
    """

    min_frames: int = 1
    max_frames: int = 144
    min_side: int = 512
    max_side: int = 512

    def warn(self, num_frames: int, height: int, width: int) -> list[str]:
        """A line for everything about a clip that is far from the range."""
        lines: list[str] = []
        if num_frames != 1 and not self.min_frames <= num_frames <= self.max_frames:
            frames = _range(self.min_frames, self.max_frames)
            lines.append(f"These weights were trained on clips of {frames} frames; {num_frames} may look worse.")
        if not self.min_side**2 / _FAR_AREA <= height * width <= self.max_side**2 * _FAR_AREA:
            sides = _range(f"{self.min_side}x{self.min_side}", f"{self.max_side}x{self.max_side}")
            lines.append(f"These weights were trained on about {sides} pixels; {height}x{width} may look worse.")
        return lines


_FAR_AREA = 2.0
"""Times as many or as few pixels as in training that are far from it."""


def _range(low: object, high: object) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Progress:
    """One step of work: `step` of `total` in a phase ("text", "encode", "denoise", "decode", ...)."""

    phase: str
    step: int
    total: int


@dataclass(frozen=True, eq=False)
class Video:
    """A clip: frames uint8 [T, H, W, 3], and frames per second."""

    frames: np.ndarray[Any, Any]
    fps: float

    def __post_init__(self) -> None:
        """Refuse anything but uint8 [T, H, W, 3] with at least one frame."""
        shape = tuple(self.frames.shape)
        if str(self.frames.dtype) != "uint8" or shape[3:] != (3,) or 0 in shape:
            raise RequestError(
                "A video is an array of pixels.",
                received=f"{self.frames.dtype} {list(shape)}",
                expected="uint8 [frames, height, width, 3] with at least one frame",
            )
        if not self.fps > 0:
            raise RequestError("Frames per second must be positive.", received=self.fps, expected="a number above 0")


@dataclass(frozen=True, eq=False, kw_only=True)
class VideoRequest:
    """Everything a pipeline needs to know to make one clip.

    Args:
        prompt: What to show.
        negative_prompt: What to avoid; used only with guidance.
        num_frames: 1 makes an image.
        height: In pixels.
        width: In pixels.
        fps: Frames per second of the result.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1 or less turns it off.
        sampler: Name of the sampler.
        seed: Seed of all randomness.
        start_images: Frames that the clip begins with, each uint8 [H, W, 3], any size.
        end_image: Frame that the clip ends with, uint8 [H, W, 3]; needs a start image.
        video: Source clip for video to video.
        mask: Where to generate, uint8 [T or 1, H, W]: 0 keeps the source, anything else generates.
        strength: How much of the source clip is replaced, above 0 up to 1.
        segment_frames: Long video: frames that are denoised at a time.
        overlap_frames: Long video: frames that two neighbouring segments share.
        on_progress: Called after every step; an exception it raises stops the run.
    """

    prompt: str
    negative_prompt: str = ""
    num_frames: int
    height: int
    width: int
    fps: float
    num_inference_steps: int
    guidance_scale: float
    sampler: str
    seed: int = 0
    start_images: tuple[np.ndarray[Any, Any], ...] = ()
    end_image: np.ndarray[Any, Any] | None = None
    video: Video | None = None
    mask: np.ndarray[Any, Any] | None = None
    strength: float = 1.0
    segment_frames: int | None = None
    overlap_frames: int | None = None
    on_progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Check everything that does not depend on the model."""
        positive = ("num_frames", "height", "width", "fps", "num_inference_steps")
        for name in positive:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise RequestError(f"{name} must be positive.", received=value, expected="a number above 0")
        if not math.isfinite(self.guidance_scale):
            raise RequestError("Guidance must be a number.", received=self.guidance_scale, expected="for example 7")
        if not 0 < self.strength <= 1:
            raise RequestError("Strength is out of range.", received=self.strength, expected="above 0, up to 1")
        if not 0 <= self.seed < 2**63:
            raise RequestError("The seed is out of range.", received=self.seed, expected="0 to 2**63 - 1")
        self._check_sources()
        self._check_segments()

    def _check_sources(self) -> None:
        """Images, video, mask and strength have to fit one another."""
        if self.end_image is not None and not self.start_images:
            raise RequestError(
                "An end image needs a start image.",
                received="an end image alone",
                expected="a start image, or a start and an end image",
                fix="add --image FILE",
            )
        if self.video is not None and self.start_images:
            raise RequestError(
                "A clip starts from images or from a video, not from both.",
                received="images and a video",
                expected="either --image or --video",
            )
        if self.mask is not None and self.video is None:
            raise RequestError("A mask needs a video.", received="a mask alone", fix="add --video FILE")
        if self.video is None and self.strength < 1:
            raise RequestError(
                "Strength below 1 needs a source video.",
                received=self.strength,
                fix="add --video FILE, or drop --strength",
            )

    def _check_segments(self) -> None:
        """A long video has both lengths, and the overlap is the shorter."""
        if (self.segment_frames is None) != (self.overlap_frames is None):
            raise RequestError(
                "A long video needs the length of a segment and of the overlap.",
                received="only one of them",
                fix="give both --segment and --overlap, or neither",
            )
        if self.segment_frames is None or self.overlap_frames is None:
            return
        if not 0 < self.overlap_frames < self.segment_frames:
            raise RequestError(
                "The overlap must be shorter than the segment.",
                received=f"segment {self.segment_frames}, overlap {self.overlap_frames}",
                expected="0 < overlap < segment",
            )

    @property
    def task(self) -> Task:
        """The task that this request is."""
        if self.video is not None:
            return Task.VIDEO_TO_VIDEO
        if self.start_images:
            return Task.IMAGE_TO_VIDEO
        return Task.TEXT_TO_IMAGE if self.num_frames == 1 else Task.TEXT_TO_VIDEO


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file and the weight it is applied with."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model.

    Args:
        weights: The folder in the original's layout, or None for a model without weights.
        dtype: "bfloat16", "float16" or "float32"; None lets the model choose for the device.
        device: "cuda", "cuda:1", "mps", "cpu"; None takes the best there is.
        loras: LoRA files to apply, in order.
        transformer: A file of transformer weights that replace those of the folder, such as a personalised model.
        motion_module: V1: the file of the motion module; None finds it beside the weights.
    """

    weights: Path | None = None
    dtype: str | None = None
    device: str | None = None
    loras: tuple[LoraFile, ...] = ()
    transformer: Path | None = None
    motion_module: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model version that `ea run --model KEY` can run.

    Args:
        key: The exact name on the command line.
        summary: One line for `ea models`.
        load: Makes the pipeline; called late, so it may import torch inside.
        tasks: What the model can be asked for.
        defaults: Values of a request that the user left out.
        shapes: Which sizes and frame counts are valid; None accepts any.
        trained: What the weights were trained on, unless they say otherwise; None warns of nothing.
        samplers: Names accepted by `--sampler`; empty accepts any.
        check_weights: Raises `WeightsError` unless the folder holds whole weights of this model; reads headers only,
            so that a wrong folder is refused before anything heavy is imported.
        components: Gives the parts by role ("vae", "transformer", "text_encoder", "tokenizer", ...) for training.
        find_files: Checks `LoadOptions.transformer` and `motion_module`, reading headers only, and fills in what lies
            beside the weights; None refuses both.
        training: Settings of training by trainer ("dit", "lora", "vae") that differ from the trainer's defaults; names
            with dots, such as `optimizer.learning_rate`, reach into a part.
    """

    key: str
    summary: str
    load: Callable[[LoadOptions], VideoPipeline]
    tasks: tuple[Task, ...] = (Task.TEXT_TO_VIDEO,)
    defaults: Defaults = field(default_factory=Defaults)
    shapes: ShapeRule | None = None
    trained: TrainedRange | None = None
    samplers: tuple[str, ...] = ()
    check_weights: Callable[[Path], None] | None = None
    components: Callable[[LoadOptions], Mapping[str, Any]] | None = None
    find_files: Callable[[LoadOptions], LoadOptions] | None = None
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])

    def __post_init__(self) -> None:
        """Refuse keys that cannot be typed on a command line."""
        if not self.key or self.key != self.key.strip() or any(char.isspace() for char in self.key):
            raise RequestError("A model key is one word.", received=repr(self.key), expected="for example v4")


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Weights of a model that can be found by name.

    Args:
        model: Key of the model that they belong to.
        name: Name on the command line: "official", "demo", ...
        summary: One line for `ea weights list`.
        licence: Name of the licence, shown before a download.
        path: Folder that ships with a plugin; None for weights that are downloaded.
        hub_id: Repository on Hugging Face.
        folder: Where the original keeps them below `models/`, for instance
            "Diffusion_Transformer/EasyAnimateV4-XL-2-InP".
        size_bytes: Approximate size of the download.
        defaults: Values of a request for these weights; None takes those of the model.
        trained: What they were trained on; None takes what the model says.
    """

    model: str
    name: str
    summary: str
    licence: str
    path: Path | None = None
    hub_id: str | None = None
    folder: str | None = None
    size_bytes: int | None = None
    defaults: Defaults | None = None
    trained: TrainedRange | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec:
    """A sampler: its name on the command line, and a factory from the scheduler's configuration to the sampler.

    The factory is a function, or its place: "my_package.samplers:make_heun".
    """

    name: str
    summary: str
    create: Later[Callable[[Mapping[str, Any]], Any]] = Later()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Training data: `load(path, **options)`, called late, gives items by index, or data that makes batches.

    It is a function, or its place: "my_package.data:open_shards".
    """

    key: str
    summary: str
    load: Later[Callable[..., VideoDataset | Batchable]] = Later()


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command of `ea`: `ea GROUP NAME`.

    Args:
        group: "data", "train", "eval", ...
        name: The command below the group.
        summary: One line for `--help`.
        load: The place of the command, "my_package.count:count": a function whose typed parameters (plain or
            `typing.Annotated[..., typer.Option(...)]`) become options, imported when it runs. Or a function that
            imports and returns it.
    """

    group: str
    name: str
    summary: str
    load: Later[Callable[[], Callable[..., None]]] = Later(lambda place: Target(place).resolve)
