"""From what was asked for to a clip that is ready to be made: defaults filled in, files read, everything checked."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.aspect_ratio import SIZE_MULTIPLE, find_size
from easyanimate_core.clip import ClipPlan
from easyanimate_core.errors import MediaError, RequestError, near_misses
from easyanimate_core.request import Task, VideoRequest, check_numbers, check_types
from easyanimate_core.shapes import PixelShape, ShapeRule, fit_picture, parse_size
from easyanimate_core.source import ROLES, Sources, is_path, read_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from easyanimate_core.request import Defaults, TrainedRange, Video
    from easyanimate_core.source import Picture
    from easyanimate_core.spec import ModelSpec

REDRAW_STRENGTH = 0.7
"""Of a source video without a mask: at 1, nothing of it would be left. The original's scripts use the same."""

_ANY_SHAPE = ShapeRule(chunk_frames=1, chunk_latents=1)
"""Of models that say nothing of shapes."""


def plan_clip(
    settings: Mapping[str, Any],
    spec: ModelSpec,
    defaults: Defaults,
    *,
    trained: TrainedRange | None = None,
    samplers: Sequence[str] = (),
) -> ClipPlan:
    """Make everything ready that does not need the model.

    Args:
        settings: Fields of `VideoRequest`; None leaves one open. Pictures and videos may be paths: `start_images` one
            or several, `end_image`, `video`, `mask`. `size`, "HEIGHTxWIDTH", may stand for height and width.
        spec: The model.
        defaults: Values for what is left open; the size follows an image or a video where there is one.
        trained: What the weights were trained on; None where nobody says.
        samplers: Names that the model accepts; empty accepts any.

    Raises:
        RequestError, MediaError: For anything the model cannot do, or a file that cannot be read.
    """
    known = [*(item.name for item in fields(VideoRequest)), "size"]
    for name in settings:
        if name not in known:
            raise RequestError(
                f"There is no setting {name}.", received=name, expected=", ".join(known), fix=near_misses(name, known)
            )
    given = {name: value for name, value in settings.items() if value is not None}
    typed_size = given.pop("size", None)
    if typed_size is not None:
        given["height"], given["width"] = parse_size(str(typed_size))
    check_types(given)
    prompt = given.get("prompt", "")
    if not prompt.strip():
        raise RequestError("The prompt is empty.", received=repr(prompt), fix='add --prompt "what to show"')
    _check_settings(given, spec, defaults, samplers)
    sources = Sources.read(given, defaults.num_frames)
    values = {**asdict(defaults), **given, **sources.values}
    if "segment_frames" in given and "overlap_frames" not in given:
        values["overlap_frames"] = (spec.shapes or _ANY_SHAPE).usual_overlap(given["segment_frames"])
    if sources.video is not None:
        values |= _fit_to_video(sources.video, given, spec)
        values["strength"] = given.get("strength", 1.0 if sources.has_mask else REDRAW_STRENGTH)
    notes = _describe_rest(given, sources.video)
    usual = (values["height"], values["width"])
    leading = sources.leading
    if leading is not None and not {"height", "width"} & given.keys():
        values["height"], values["width"] = _follow(leading, spec, defaults, trained)
    notes += _describe_size(usual, (values["height"], values["width"]), typed_size, leading)
    request = VideoRequest(**values)
    check_request(request, spec, samplers=samplers)
    notes += _describe_fit(sources.pictures, request)
    notes += _describe_mask(request)
    if trained is not None:
        notes += trained.warn(request.segment_frames or request.num_frames, request.height, request.width)
    return ClipPlan(request, sources.describe(), tuple(notes))


def check_request(request: VideoRequest, spec: ModelSpec, *, samplers: Sequence[str] = ()) -> None:
    """Raise `RequestError` unless the model can do the task, the size, the frames and the sampler."""
    _check_task(request.task, spec)
    if request.segment_frames is not None and Task.IMAGE_TO_VIDEO not in spec.tasks:
        raise RequestError(
            f"The model {spec.key} cannot make a long video: every part goes on from the images of the one before.",
            received=f"--segment {request.segment_frames}",
            fix="leave out --segment and --overlap",
        )
    if samplers and request.sampler not in samplers:
        raise RequestError(
            "There is no such sampler.",
            received=request.sampler,
            expected=", ".join(samplers),
            fix=near_misses(request.sampler, samplers),
        )
    if spec.shapes is None:
        return
    if request.segment_frames is None:
        spec.shapes.check(PixelShape(request.num_frames, request.height, request.width))
    else:
        spec.shapes.check(PixelShape(request.segment_frames, request.height, request.width))
        # A long video is made of segments: only a segment is bound to what the model was trained for.
        endless = replace(spec.shapes, max_frames=max(spec.shapes.max_frames, request.num_frames * 2))
        endless.check(PixelShape(request.num_frames, request.height, request.width))


def _check_task(task: Task, spec: ModelSpec) -> None:
    if task not in spec.tasks:
        raise RequestError(
            f"The model {spec.key} cannot do that.",
            received=task,
            expected=", ".join(spec.tasks),
            fix="`ea models` lists what each model can do",
        )


def _check_settings(given: Mapping[str, Any], spec: ModelSpec, defaults: Defaults, samplers: Sequence[str]) -> None:
    """Check what can be checked before a picture or a video is read, which may take long."""
    if "video" in given:
        _check_task(Task.VIDEO_TO_VIDEO, spec)
    elif "start_images" in given:
        _check_task(Task.IMAGE_TO_VIDEO, spec)
    check_numbers(given)
    of_sources = (*ROLES, "strength", "video_start", "video_fps")
    values = {**asdict(defaults), **{name: value for name, value in given.items() if name not in of_sources}}
    if "segment_frames" in given:
        values.setdefault("overlap_frames", (spec.shapes or _ANY_SHAPE).usual_overlap(given["segment_frames"]))
    request = VideoRequest(**values)
    check_request(request, replace(spec, tasks=tuple({*spec.tasks, request.task})), samplers=samplers)


def _name(height: int, width: int) -> str:
    return f"{height}x{width}"


def _follow(picture: Picture, spec: ModelSpec, defaults: Defaults, trained: TrainedRange | None) -> tuple[int, int]:
    """Height and width of a clip that has the shape of a picture and the area that is usual.

    No shape is chosen that the weights were not trained on: those that know squares alone make squares.
    """
    multiple = spec.shapes.size_multiple if spec.shapes else SIZE_MULTIPLE
    # Sides are rounded down to the grid, so this one is rounded up: the usual size is found again.
    side = math.ceil(math.sqrt(defaults.height * defaults.width) / multiple) * multiple
    if trained is not None:
        side = min(max(side, trained.min_side), trained.max_side)
    return find_size(
        (picture.height, picture.width),
        usual=(defaults.height, defaults.width),
        side=side,
        multiple=multiple,
        largest=spec.shapes.max_size if spec.shapes else None,
        max_ratio=trained.max_ratio if trained is not None else None,
    )


def _describe_size(
    usual: tuple[int, int], size: tuple[int, int], typed: str | None, leading: Picture | None
) -> list[str]:
    """A line where a size follows a picture and is not the usual one, and where an upright one was typed."""
    if leading is not None and size != usual:
        return [f"The size {_name(*size)} follows the {leading.role} of {leading.size}; --size chooses another."]
    height, width = size
    if typed is None or height <= width or (leading is not None and leading.is_upright):
        return []
    lying = _name(width, height)
    return [f"The size {typed} is read as height {height}, width {width}; for a wide one, --size {lying}."]


def _describe_fit(pictures: Iterable[Picture], request: VideoRequest) -> list[str]:
    """A line for every picture whose shape is not that of the clip, by at least a pixel."""
    pixels = PixelShape(request.num_frames, request.height, request.width)
    target = _name(pixels.height, pixels.width)
    lines: list[str] = []
    for picture in dict.fromkeys(pictures):
        kept = fit_picture(picture.height, picture.width, pixels, "crop")
        cut = max(pixels.height * (1 / kept.height - 1), pixels.width * (1 / kept.width - 1))
        if cut < 1:
            continue
        share = f"{max(round(100 * (1 - kept.height * kept.width)), 1)} %"
        lines.append(
            {
                "crop": f"The {picture.role} of {picture.size} is cropped to the shape of {target}: {share} of it is "
                "cut off; --fit pad keeps all of it, with black bars.",
                "pad": f"The {picture.role} of {picture.size} gets black bars, to fill {target}; --fit crop cuts off "
                f"{share} of it instead.",
                "stretch": f"The {picture.role} of {picture.size} is stretched to {target}, another shape; --fit crop "
                "or pad keeps its own.",
            }[request.fit]
        )
    return lines


def _describe_mask(request: VideoRequest) -> list[str]:
    """A line where a mask is of one colour, which it hardly was meant to be."""
    if request.mask is None or (request.mask.any() and not request.mask.all()):
        return []
    if request.mask.any():
        return ["The mask is white everywhere: nothing of the video is kept. What is to be kept must be black."]
    return ["The mask is black everywhere: nothing of the video is replaced. What is to be replaced must be white."]


def _describe_rest(given: Mapping[str, Any], video: Video | None) -> list[str]:
    """A line where the source video goes on behind the frames that the clip takes."""
    if video is None:
        return []
    source, start, used = given["video"], given.get("video_start", 0.0), len(video.frames)
    seconds = read_seconds(Path(source)) if is_path(source) else len(source.frames) / source.fps
    total = round(((seconds or 0.0) - start) * video.fps)
    if total <= used:
        return []
    what = f"{used} of {total} frames of the video from second {start:g} on are" if start else None
    what = what or f"The first {used} of {total} frames of the video are"
    return [f"{what} used; --frames takes more, --video-start others, a lower --video-fps a longer time."]


def _fit_to_video(video: Video, given: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """Frames and frame rate of a clip from a video: those of the video where nothing else was asked for."""
    available = len(video.frames)
    longest = spec.shapes.near_frames(available)[0] if spec.shapes else available
    num_frames = given.get("num_frames", longest)
    if num_frames > available:
        name = given["video"] if is_path(given["video"]) else "a video"
        raise MediaError(
            "The video is shorter than the clip.",
            received=f"{name}: {available} frames for {num_frames}",
            expected="at least as many frames as the clip has",
            fix=f"use --frames {longest}" + (", or an earlier --video-start" if given.get("video_start") else ""),
        )
    return {"num_frames": num_frames, "fps": given.get("fps", video.fps)}
