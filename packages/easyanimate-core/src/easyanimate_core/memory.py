"""Whether a model fits into memory, what it took, and what would fit when it did not."""

from __future__ import annotations

import gc
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import EasyAnimateError
from easyanimate_core.machine import format_bytes, free_memory, peak_memory, read_machine
from easyanimate_core.shapes import PixelShape

if TYPE_CHECKING:
    from collections.abc import Generator

    from easyanimate_core.machine import Device
    from easyanimate_core.request import VideoRequest
    from easyanimate_core.shapes import ShapeRule
    from easyanimate_core.spec import LoadOptions

_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the processor or on a GPU; torch is not imported to find out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return True
    return "RuntimeError" in names and any(text in str(error).lower() for text in _TEXTS)


@contextmanager
def explaining_memory(explanation: EasyAnimateError) -> Generator[None]:
    """Raise `explanation` where memory runs out inside the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise explanation from error
        raise


@contextmanager
def pausing_collection() -> Generator[None]:
    """Let Python's search for reference cycles rest inside the block.

    Importing PyTorch, diffusers and transformers makes millions of objects that stay; searching them again and again
    takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_memory(options: LoadOptions) -> None:
    """Refuse weights that are larger than the memory of the processor, before the system ends the process for it.

    Graphics cards tell by themselves when they are full. PyTorch is only imported when the answer is not plain.

    Raises:
        EasyAnimateError: When the weights do not fit.
    """
    if options.weights is None or options.weights.count_bytes(4) < free_memory():
        return
    device = _find_processor(options)
    if device is None:
        return
    dtype = options.dtype or device.dtypes[0]
    needed = options.weights.count_bytes(_BYTES[dtype])
    if needed >= device.free_bytes:
        half = options.weights.count_bytes(2)
        narrower = ", or --dtype bfloat16" if dtype == "float32" and half < device.free_bytes else ""
        raise EasyAnimateError(
            "This machine has too little memory for these weights.",
            received=f"{format_bytes(needed)} of weights as {dtype}",
            expected=f"less than the {format_bytes(device.free_bytes)} that are free",
            fix=f"use smaller ones, such as --weights demo{narrower}",
        )


def check_clip_memory(request: VideoRequest, rule: ShapeRule | None, options: LoadOptions, *, is_loaded: bool) -> None:
    """Refuse a clip that certainly takes more than the memory that is free, before the system ends the process for it.

    Much that a run takes is not counted: a clip that passes may still be too large.

    Args:
        request: The clip.
        rule: The shapes of the model, by which its latents are known; None where nobody says.
        options: How the model is loaded.
        is_loaded: Whether its weights are in memory already.

    Raises:
        EasyAnimateError: When it cannot fit; the error names smaller clips.
    """
    free = free_memory()
    on_processor = _count_clip(request) + _count_model(request, rule, options, 4, is_loaded=is_loaded)
    if on_processor < free:
        return
    device = _find_processor(options)
    needed = _count_clip(request)
    if device is not None:
        num_bytes = _BYTES[options.dtype or device.dtypes[0]]
        needed += _count_model(request, rule, options, num_bytes, is_loaded=is_loaded)
    if needed >= free:
        explained = explain_run(request, rule, options)
        explained.received = f"{explained.received}: at least {format_bytes(needed)}"
        explained.expected = f"less than the {format_bytes(free)} that are free, such as {explained.expected}"
        raise explained


_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_FRAME_BYTES = 6
"""Of a pixel that is made: red, green and blue in pieces, and once more as a whole clip."""

_SOURCE_BYTES = 24
"""Of a pixel that is given: red, green and blue in float32, before and after they are scaled."""

_STATES = 5
"""Numbers per token and width in a transformer's block, at least: its states, queries, keys, values, and the result."""


def _count_clip(request: VideoRequest) -> int:
    """Bytes of pixels that are certainly held at a time, on every device in main memory."""
    area = request.height * request.width
    given = request.video is not None or request.start_images
    at_a_time = min(request.num_frames, request.segment_frames or request.num_frames)
    return area * max(request.num_frames * _FRAME_BYTES, at_a_time * _SOURCE_BYTES if given else 0)


def _count_model(
    request: VideoRequest, rule: ShapeRule | None, options: LoadOptions, num_bytes: int, *, is_loaded: bool
) -> int:
    """Bytes of weights, and of states of the transformer by what diffusers' configurations call their sizes."""
    folder = options.weights
    if folder is None:
        return 0
    weights = 0 if is_loaded else folder.count_bytes(num_bytes)
    config = folder.config("transformer")
    sizes = [config.get(name) for name in ("num_attention_heads", "attention_head_dim", "patch_size")]
    sizes.append(config.get("patch_size_t") or 1)
    whole = [size for size in sizes if isinstance(size, int) and size > 0]
    if rule is None or len(whole) < len(sizes):
        return weights
    heads, head_dim, patch, time_patch = whole
    frames = rule.near_frames(min(request.num_frames, request.segment_frames or request.num_frames))[0]
    latent = rule.latent_shape(PixelShape(frames, request.height, request.width))
    tokens = latent.num_frames * latent.height * latent.width // (patch * patch * time_patch)
    return weights + tokens * heads * head_dim * _STATES * num_bytes


def _find_processor(options: LoadOptions) -> Device | None:
    """The processor, where a model runs on it; None where it runs on a graphics card. Imports PyTorch."""
    if options.device not in (None, "cpu"):
        return None
    devices = {device.name: device for device in read_machine().devices}
    device = devices.get(options.device or next(iter(devices), "cpu"))
    return device if device is not None and device.name == "cpu" else None


def explain_load(options: LoadOptions) -> EasyAnimateError:
    """The error for a model that did not fit."""
    return EasyAnimateError(
        "This machine has too little memory to load the model.",
        received=f"{options.weights or 'a model without weights'} as {options.dtype or 'its usual number format'}",
        fix="try --dtype bfloat16, smaller --weights, or another --device",
    )


def explain_run(request: VideoRequest, rule: ShapeRule | None, options: LoadOptions) -> EasyAnimateError:
    """The error for a clip that did not fit, with values that take about half of the memory."""
    ways: list[str] = []
    if request.num_frames > 1:
        fewer = max(request.num_frames // 2, 1)
        ways.append(f"--frames {rule.near_frames(fewer)[0] if rule else fewer}")
    # Both sides by the root of a half.
    sides = [round(side * math.sqrt(0.5)) for side in (request.height, request.width)]
    height, width = (rule.near_sizes(side)[0] if rule else side for side in sides)
    if height * width < request.height * request.width:
        ways.append(f"--size {height}x{width}")
    if options.dtype == "float32":
        ways.append("--dtype bfloat16")
    return EasyAnimateError(
        "This machine has too little memory for this clip.",
        received=f"--size {request.height}x{request.width} --frames {request.num_frames}",
        expected=f"about half of it: {' or '.join(ways) or 'nothing smaller'}",
        fix="try one of these, or --device with more memory",
    )


def describe_peak() -> str:
    """The most memory that this process has taken so far, on the GPU too where torch was used with one."""
    torch: Any = sys.modules.get("torch")
    main = format_bytes(peak_memory())
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return main
    return f"{main}, GPU {format_bytes(torch.cuda.max_memory_allocated())}"
