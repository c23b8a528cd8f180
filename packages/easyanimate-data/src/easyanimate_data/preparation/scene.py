"""Where the scenes of a video lie, and which clips they give.

Times are in seconds from the start of the video.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, cast

from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import NOT_NEGATIVE, POSITIVE, Range, check_ranges
from easyanimate_core.rate import MAX_RATE, RATE_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_data.frames import Frames
    from easyanimate_data.timeline import Timeline

MICROSECONDS = 6
"""Digits of a second that times are rounded to."""

TRIM_SECONDS = 0.5
"""Cut off the end of a scene that becomes one clip, where the next one may shine through."""


@dataclass(frozen=True)
class SplitSettings:
    """How videos are split. Defaults are those of EasyAnimate V4.

    Args:
        threshold: Change of the picture that counts as a cut, as PySceneDetect's ContentDetector measures it.
        min_scene_frames: Least distance of two cuts, in frames.
        min_seconds: Length in seconds below which scenes, and the rests of long ones, are dropped.
        max_seconds: Length in seconds of the pieces that longer scenes are cut into.
        min_pixels: Height times width below which a video is dropped.
        fps: Frames per second of all clips, so that motion is as fast in each; null keeps the rates of the videos.
        endings: Further endings of files that are read as videos, such as .h264.
        images: Whether images become rows of their own, beside the clips of videos.
    """

    threshold: Annotated[float, POSITIVE] = 27.0
    min_scene_frames: Annotated[int, Range(1)] = 15
    min_seconds: Annotated[float, POSITIVE] = 3.0
    max_seconds: Annotated[float, POSITIVE] = 10.0
    min_pixels: Annotated[int, NOT_NEGATIVE] = 512 * 512
    fps: Annotated[float | None, Range(1, MAX_RATE)] = None
    endings: tuple[str, ...] = ()
    images: bool = True

    def __post_init__(self) -> None:
        """Refuse lengths that leave no clip."""
        check_ranges(self)
        if self.min_seconds > self.max_seconds:
            raise RequestError(
                "split.min_seconds must be at most split.max_seconds.",
                received=f"min_seconds {self.min_seconds}, max_seconds {self.max_seconds}",
            )


@dataclass(frozen=True)
class Span:
    """A clip to cut: what its name ends in, and from when to when."""

    name: str
    start: float
    end: float


def detect_scenes(
    path: Path, settings: SplitSettings, *, compat: bool = False, timeline: Timeline | None = None
) -> list[float]:
    """Find the cuts with PySceneDetect's ContentDetector.

    It is shown every frame as `easyanimate_data.frames` reads it, by its number, so that a cut lies exactly before a
    frame whatever the container says of times; shrunk as PySceneDetect does it.

    Args:
        path: The video.
        settings: Threshold and least distance.
        compat: End the last scene with the start of its last frame, as PySceneDetect 0.6 did.
        timeline: What `read_timeline` gave, when it is known already.

    Returns:
        Boundaries of the scenes: the start, every cut, the end; empty when there is no cut.

    Raises:
        MediaError: When the video cannot be read, or changes its size in mid-stream.
    """
    from scenedetect import ContentDetector, FrameTimecode

    from easyanimate_data.frames import show_all
    from easyanimate_data.timeline import read_timeline

    timeline = timeline or read_timeline(path)
    detector = ContentDetector(threshold=settings.threshold, min_scene_len=settings.min_scene_frames)
    rate = Fraction(timeline.fps).limit_denominator(RATE_LIMIT)
    cuts: set[int] = set()
    now = FrameTimecode(0, rate)
    for position, pixels in show_all(path, timeline):
        now = FrameTimecode(position, rate)
        cuts |= {found.frame_num for found in detector.process_frame(now, _shrink(pixels))}
    cuts |= {found.frame_num for found in detector.post_process(now)}
    if not cuts:
        return []
    times = timeline.times
    end = float(times[-1]) + (0 if compat else 1 / timeline.fps)
    return [round(bound, MICROSECONDS) for bound in sorted({float(times[0]), *(float(times[k]) for k in cuts), end})]


def _shrink(pixels: Frames) -> Frames:
    """BGR, as PySceneDetect's SceneManager shrinks it for its detectors."""
    import cv2
    from scenedetect.scene_manager import compute_downscale_factor

    height, width = pixels.shape[:2]
    factor = compute_downscale_factor(max(height, width))
    if factor > 1:
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        pixels = cast("Frames", cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR))
    return cast("Frames", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def plan_clips(bounds: list[float], duration: float, settings: SplitSettings) -> list[Span]:
    """The clips that scenes give, by the original's rules.

    Without a cut the whole video is cut into pieces of at most `max_seconds`, named by their number. A scene of up to
    `max_seconds` is one clip, named by the scene's number and shortened by half a second; a longer one gives pieces,
    named by both numbers, which are not shortened. What is shorter than `min_seconds` is dropped.

    Args:
        bounds: What `detect_scenes` gave.
        duration: Of the video, in seconds.
        settings: Lengths of clips.
    """
    if not bounds:
        pieces = _cut_pieces(0.0, duration, settings)
        return [Span(str(k), start, end) for k, (start, end) in enumerate(pieces)]
    spans: list[Span] = []
    for i, (start, end) in enumerate(pairwise(bounds)):
        if end - start < settings.min_seconds:
            continue
        if end - start > settings.max_seconds:
            pieces = _cut_pieces(start, end, settings)
            spans += [Span(f"{i}_{k}", first, last) for k, (first, last) in enumerate(pieces)]
        else:
            spans.append(Span(str(i), start, end - TRIM_SECONDS))
    return spans


def _cut_pieces(start: float, end: float, settings: SplitSettings) -> list[tuple[float, float]]:
    pieces: list[tuple[float, float]] = []
    while end - start >= settings.min_seconds:
        pieces.append((start, min(start + settings.max_seconds, end)))
        start += settings.max_seconds
    return pieces
