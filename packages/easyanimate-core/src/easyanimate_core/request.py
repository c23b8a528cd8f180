"""What is asked of a model and what comes back: requests that validate themselves, videos, progress, usual values.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.number_range import SHARE, Range
from easyanimate_core.rate import MAX_RATE
from easyanimate_core.shapes import Fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np


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
        max_ratio: Longer side by shorter side of the most oblong training clip.
    """

    min_frames: int = 1
    max_frames: int = 144
    min_side: int = 512
    max_side: int = 512
    max_ratio: float = 4.0

    def warn(self, num_frames: int, height: int, width: int) -> list[str]:
        """A line for everything about a clip that is far from the range."""
        lines: list[str] = []
        if num_frames != 1 and not self.min_frames <= num_frames <= self.max_frames:
            frames = _range(self.min_frames, self.max_frames)
            lines.append(f"These weights were trained on clips of {frames} frames; {num_frames} may look worse.")
        if not self.min_side**2 / _FAR_AREA <= height * width <= self.max_side**2 * _FAR_AREA:
            sides = _range(f"{self.min_side}x{self.min_side}", f"{self.max_side}x{self.max_side}")
            lines.append(f"These weights were trained on about {sides} pixels; {height}x{width} may look worse.")
        if max(height, width) > self.max_ratio * _FAR_RATIO * min(height, width):
            shapes = "squares" if self.max_ratio == 1 else f"shapes up to {self.max_ratio:g} to 1"
            lines.append(f"These weights were trained on {shapes}; {height}x{width} may look worse.")
        return lines


_FAR_AREA = 2.0
"""Times as many or as few pixels as in training that are far from it."""

_FAR_RATIO = 1.5
"""Times as oblong as in training that is far from it."""


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


def _check_pixels(what: str, pixels: Any, shape: tuple[int | None, ...], expected: str) -> None:
    """Raise `RequestError` unless something is an array of whole pixels of this shape, in which None is any size."""
    found: tuple[int, ...] = tuple(pixels.shape) if hasattr(pixels, "shape") else ()
    fits = len(found) == len(shape) and all(
        size and wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
    )
    if not fits or str(pixels.dtype) != "uint8":
        received = f"{pixels.dtype} {list(found)}" if found else type(pixels).__name__
        raise RequestError(f"{what} is an array of pixels.", received=received, expected=expected)


_RANGES: Mapping[str, Range] = {
    "num_frames": Range(1, 100_000),
    "height": Range(1, 16_384),
    "width": Range(1, 16_384),
    "fps": Range(0.1, MAX_RATE),
    "num_inference_steps": Range(1, 1000),
    "guidance_scale": Range(0, 100),
    "guidance_rescale": SHARE,
    "seed": Range(0, 2**63 - 1),
    "strength": Range(above=0, most=1),
    "video_start": Range(0, 1_000_000),
    "video_fps": Range(0.1, MAX_RATE),
}
"""What numbers of a request may be: wide of anything of use, and nothing that a machine chokes on.

More denoising steps than the noise levels of training, 1000, there are not.
"""

_MAX_TEXT = 100_000
"""Characters of a prompt; text encoders read a few hundred."""

_TYPES: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (str, "a text", ("prompt", "negative_prompt", "sampler", "fit")),
    (numbers.Integral, "a whole number", ("num_frames", "height", "width", "num_inference_steps", "seed")),
    (numbers.Integral | None, "a whole number", ("segment_frames", "overlap_frames")),
    (numbers.Real, "a number", ("fps", "guidance_scale", "guidance_rescale", "strength", "video_start")),
    (numbers.Real | None, "a number", ("video_fps",)),
    (bool, "true or false", ("keep_pixels",)),
)


OLDER_MEANING: Mapping[str, Any] = {"fit": "stretch", "keep_pixels": False}
"""What a request means whose manifest is older than a field, where that is not the field's default."""


def check_types(values: Mapping[str, Any]) -> None:
    """Raise `RequestError` unless texts are texts and numbers are numbers, by the names that `VideoRequest` has."""
    for kind, expected, names in _TYPES:
        for name in names:
            if name not in values:
                continue
            value = values[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise RequestError(f"{name} is of another type.", received=repr(value), expected=expected)


def check_numbers(values: Mapping[str, Any]) -> None:
    """Raise `RequestError` unless numbers are in their ranges, by the names that `VideoRequest` has; None is open."""
    for name, within in _RANGES.items():
        if values.get(name) is not None:
            within.check(values[name], name)


@dataclass(frozen=True, eq=False, kw_only=True)
class VideoRequest:
    """Everything a pipeline needs to know to make one clip.

    Args:
        prompt: What the video shows.
        negative_prompt: What the video must not show. It only acts with guidance.
        num_frames: Number of frames, where 1 makes an image.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        fps: Frames per second of the result.
        num_inference_steps: Number of denoising steps.
        guidance_scale: How closely to follow the prompt (the scale of classifier-free guidance, where 1 turns it off).
        guidance_rescale: How strongly to undo the over-exposure that high guidance brings, from 0 (not at all) to 1,
            where the guided prediction has the contrast of that without guidance. About 0.7 is usual
            (arXiv 2305.08891).
        sampler: Name of the sampler, one of those that `ea models show KEY` lists.
        seed: Seed of all randomness, so that the same seed makes the same video.
        start_images: Image that the video begins with, or the images of its first frames. Each is uint8 [H, W, 3] of
            any size.
        end_image: Image that the video ends with, beside the one that it begins with. It is uint8 [H, W, 3] of any
            size.
        video: Video to change: the whole of it, or where the mask is white.
        video_start: Seconds from the beginning of the source video at which the clip starts.
        video_fps: Frames per second at which the source video is taken, by which the clip takes more or less of it (its
            own rate unless given).
        mask: Image or video that is white where the source video is replaced and black where it is kept. It is uint8
            [T or 1, H, W]. A mask knows no grey: from a file, at least half bright is white; in an array, all above 0.
            Transparent parts of an image are white, unless all that is painted on it is.
        keep_pixels: Whether what the mask keeps is the source video's own pixels in the result, bit for bit. Else the
            model draws it anew, and it comes out alike.
        fit: How images, video and mask of another shape come to the size of the result. "crop" cuts their edges off,
            "pad" adds black bars, "stretch" distorts them.
        strength: How much of the source video to replace, above 0 up to 1 (0.7 unless given, with a mask 1).
        segment_frames: Number of frames to make at a time of a long video.
        overlap_frames: Number of frames that neighbouring segments of a long video share (4 unless given, or a little
            more where the model codes frames in threes).
        on_progress: Called after every step; an exception it raises stops the run.
    """

    prompt: str = field(metadata={"option": "-p"})
    negative_prompt: str = ""
    num_frames: int
    height: int
    width: int
    fps: float
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float = 0.0
    sampler: str
    seed: int = 0
    start_images: tuple[np.ndarray[Any, Any], ...] = ()
    end_image: np.ndarray[Any, Any] | None = None
    video: Video | None = None
    video_start: float = 0.0
    video_fps: float | None = None
    mask: np.ndarray[Any, Any] | None = None
    keep_pixels: bool = True
    fit: Fit = "crop"
    strength: float = 1.0
    segment_frames: int | None = None
    overlap_frames: int | None = None
    on_progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Check everything that does not depend on the model."""
        check_types(vars(self))
        check_numbers(vars(self))
        for name in ("prompt", "negative_prompt"):
            if len(getattr(self, name)) > _MAX_TEXT:
                received = f"{len(getattr(self, name))} characters"
                raise RequestError(f"{name} is too long.", received=received, expected=f"up to {_MAX_TEXT} characters")
        if self.fit not in get_args(Fit):
            kinds = get_args(Fit)
            raise RequestError(
                "There is no such fit.", received=self.fit, expected=", ".join(kinds), fix=near_misses(self.fit, kinds)
            )
        self._check_sources()
        self._check_segments()

    def _check_sources(self) -> None:
        """Images, video, mask and strength have to be what they are called, and fit one another."""
        for picture in (*self.start_images, *(() if self.end_image is None else (self.end_image,))):
            _check_pixels("An image", picture, (None, None, 3), "uint8 [height, width, 3]")
        video: Any = self.video
        if not isinstance(video, Video | None):
            raise RequestError(
                "This is not a video.",
                received=type(video).__name__,
                expected="a path, or Video(frames, fps) with frames uint8 [frames, height, width, 3]",
            )
        if self.mask is not None:
            _check_pixels("A mask", self.mask, (None, None, None), "uint8 [frames, height, width]")
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
        if self.video is None and (self.video_start or self.video_fps is not None):
            raise RequestError(
                "What is taken of a source video needs one.",
                received="a start or a rate alone",
                fix="add --video FILE, or drop --video-start and --video-fps",
            )
        if self.video is None and self.strength < 1:
            raise RequestError(
                "Strength below 1 needs a source video.",
                received=self.strength,
                fix="add --video FILE, or drop --strength",
            )
        self._check_lengths()

    def _check_lengths(self) -> None:
        """Images, video and mask have to reach as far as the clip, and leave something to do."""
        images, frames = len(self.start_images), min(self.num_frames, self.segment_frames or self.num_frames)
        if images > frames:
            raise RequestError(
                "There are more start images than frames.",
                received=f"{images} images for {frames} frames",
                expected=f"at most {frames} images",
            )
        if self.end_image is not None and frames == 1:
            raise RequestError(
                "One frame cannot begin with one image and end with another.",
                received="a start image, an end image, 1 frame",
                expected="at least 2 frames",
                fix="use more --frames, or leave out --end-image",
            )
        if self.video is None:
            return
        if self.segment_frames is not None:
            raise RequestError(
                "A long video cannot be made from a source video.",
                received="a video and a segment length",
                fix="leave out --segment and --overlap, or start from images",
            )
        for name, source in (("video", self.video.frames), ("mask", self.mask)):
            fewest = 1 if name == "mask" else self.num_frames  # one picture may mask all frames
            if source is not None and len(source) < self.num_frames and len(source) != fewest:
                raise RequestError(
                    f"The {name} is shorter than the clip.",
                    received=f"{len(source)} frames for {self.num_frames}",
                    expected="one frame, or at least as many as the clip has" if name == "mask" else "at least as many",
                    fix="ask for fewer frames",
                )
        if int(self.num_inference_steps * self.strength) < 1:
            raise RequestError(
                "The strength leaves no step to take.",
                received=f"strength {self.strength} with {self.num_inference_steps} steps",
                expected=f"a strength of at least 1 / {self.num_inference_steps}",
                fix="use more steps or a higher strength",
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
