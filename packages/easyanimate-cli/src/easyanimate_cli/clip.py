"""Turns options into clips that are ready to make: defaults filled in, files read, everything checked that can be."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import EasyAnimateError, MediaError, RequestError, near_misses
from easyanimate_core.machine import check_disk_space, check_writable
from easyanimate_core.manifest import InputFile
from easyanimate_core.shapes import PixelShape, ShapeRule
from easyanimate_core.spec import Task, VideoRequest
from easyanimate_core.video import read_image, read_mask, read_video

from easyanimate_cli.options import ClipOptions, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_core.spec import Defaults, ModelSpec

OUTPUT_FOLDER = Path("outputs")
SLUG_LENGTH = 40
REDRAW_STRENGTH = 0.7
"""Of a source video without a mask: at 1, nothing of it would be left. The original's scripts use the same."""

SPARE_BYTES = 16 * 2**20
"""Disk space that must stay free beside the clips."""


@dataclass(frozen=True)
class Clip:
    """One clip to make.

    Args:
        request: What the pipeline gets.
        inputs: The files that the request was read from.
        output: File to write; it does not exist yet.
    """

    request: VideoRequest
    inputs: tuple[InputFile, ...]
    output: Path


def plan_clips(
    spec: ModelSpec, defaults: Defaults, asked: Iterable[ClipOptions], *, more_samplers: Sequence[str] = ()
) -> list[Clip]:
    """Make everything ready that does not need the model.

    Args:
        spec: The model.
        defaults: Values for what the options leave open.
        asked: The options; one with `num_videos` above 1 gives as many clips.
        more_samplers: Samplers that plugins add.

    Raises:
        RequestError, MediaError: For anything the model cannot do, or a file that cannot be read.
    """
    clips: list[Clip] = []
    taken: set[Path] = set()
    for options in asked:
        try:
            request = _build_request(spec, defaults, options)
            check_request(spec, request, more_samplers=more_samplers)
            inputs = tuple(InputFile.read(role, path) for role, path in _input_paths(options))
            for number in range(options.num_videos):
                seeded = replace(request, seed=request.seed + number)
                path = free_path(_choose_output(spec.key, options, seeded, number), taken)
                taken.add(path)
                clips.append(Clip(seeded, inputs, path))
        except EasyAnimateError as error:
            if options.line is not None:
                error.message = f"Line {options.line} of the batch: {error.message}"
            raise
    return clips


def check_request(spec: ModelSpec, request: VideoRequest, *, more_samplers: Sequence[str] = ()) -> None:
    """Raise `RequestError` unless the model can do the task, the size, the frames and the sampler."""
    if request.task not in spec.tasks:
        raise RequestError(
            f"The model {spec.key} cannot do that.",
            received=request.task,
            expected=", ".join(spec.tasks),
            fix="`ea models` lists what each model can do",
        )
    if request.segment_frames is not None and Task.IMAGE_TO_VIDEO not in spec.tasks:
        raise RequestError(
            f"The model {spec.key} cannot make a long video: every part goes on from the images of the one before.",
            received=f"--segment {request.segment_frames}",
            fix="leave out --segment and --overlap",
        )
    samplers = (*spec.samplers, *more_samplers)
    if spec.samplers and request.sampler not in samplers:
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


def check_outputs(clips: Sequence[Clip]) -> None:
    """Refuse folders that cannot be written and disks that are full, before anything is made."""
    for folder in {clip.output.parent for clip in clips}:
        check_writable(folder)
        # A quarter of the raw pixels is more than H.264 or PNG need for anything but noise.
        requests = [clip.request for clip in clips if clip.output.parent == folder]
        pixels = sum(request.num_frames * request.height * request.width for request in requests)
        check_disk_space(folder, pixels * 3 // 4 + SPARE_BYTES)


def read_sources(paths: Iterable[tuple[str, Path]], num_frames: int) -> dict[str, Any]:
    """Read the files of a request, by the names that `VideoRequest` has for them.

    Args:
        paths: Role ("image", "end-image", "video", "mask") and path of each file.
        num_frames: How much of a video to read; a shorter one is read whole.
    """
    found = list(paths)
    sources: dict[str, Any] = {
        "start_images": tuple(read_image(path) for role, path in found if role == "image"),
    }
    for role, path in found:
        if role == "end-image":
            sources["end_image"] = read_image(path)
        elif role == "video":
            sources["video"] = read_video(path, max_frames=num_frames)
        elif role == "mask":
            sources["mask"] = read_mask(path)
    return sources


def free_path(path: Path, taken: Iterable[Path] = ()) -> Path:
    """`path`, or with the next free number when there is a file already."""
    number, free = 1, path
    while free in taken or free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _build_request(spec: ModelSpec, defaults: Defaults, options: ClipOptions) -> VideoRequest:
    """Read the files and fill in the defaults."""
    height, width = parse_size(options.size) if options.size else (defaults.height, defaults.width)
    num_frames, fps = _given(options.frames, defaults.num_frames), _given(options.fps, defaults.fps)
    if options.video:
        num_frames, fps = _fit_to_video(spec.shapes, defaults, options, options.video)
    return VideoRequest(
        prompt=options.prompt,
        negative_prompt=options.negative_prompt,
        num_frames=num_frames,
        height=height,
        width=width,
        fps=fps,
        num_inference_steps=_given(options.steps, defaults.num_inference_steps),
        guidance_scale=_given(options.guidance, defaults.guidance_scale),
        sampler=_given(options.sampler, defaults.sampler),
        seed=options.seed,
        strength=_given(options.strength, REDRAW_STRENGTH if options.video and not options.mask else 1.0),
        segment_frames=options.segment,
        overlap_frames=options.overlap,
        **read_sources(_input_paths(options), num_frames),
    )


def _fit_to_video(rule: ShapeRule | None, defaults: Defaults, options: ClipOptions, path: Path) -> tuple[int, float]:
    """Frames and frame rate of a clip from a video: those of the video where nothing else was asked for."""
    source = read_video(path, max_frames=_given(options.frames, defaults.num_frames))
    available = len(source.frames)
    longest = rule.near_frames(available)[0] if rule else available
    num_frames = _given(options.frames, longest)
    if num_frames > available:
        raise MediaError(
            "The video is shorter than the clip.",
            received=f"{path}: {available} frames for {num_frames}",
            expected="at least as many frames as the clip has",
            fix=f"use --frames {longest}",
        )
    return num_frames, _given(options.fps, source.fps)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _input_paths(options: ClipOptions) -> list[tuple[str, Path]]:
    single = (("end-image", options.end_image), ("video", options.video), ("mask", options.mask))
    return [*(("image", path) for path in options.image), *((role, path) for role, path in single if path)]


def _choose_output(key: str, options: ClipOptions, request: VideoRequest, number: int) -> Path:
    """The path that was asked for, numbered when there are several; else a name from the prompt and the seed."""
    suffix = ".png" if request.num_frames == 1 else ".mp4"
    path = options.output
    if path is None or path.is_dir():
        slug = re.sub(r"\W+", "-", request.prompt.lower()).strip("-")[:SLUG_LENGTH].strip("-")
        return (path or OUTPUT_FOLDER) / f"{'-'.join(filter(None, (key, slug, str(request.seed))))}{suffix}"
    if path.suffix and path.suffix.lower() != suffix:
        raise RequestError(
            "The name of the output does not fit.",
            received=path.name,
            expected=f"a name that ends in {suffix}" + (" (one frame is an image)" if suffix == ".png" else ""),
        )
    stem = f"{path.stem}-{number + 1}" if options.num_videos > 1 else path.stem
    return path.with_name(stem + suffix)
