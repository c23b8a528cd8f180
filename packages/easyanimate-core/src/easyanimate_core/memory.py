"""Whether a model fits into memory, what it took, and what would fit when it did not."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import EasyAnimateError
from easyanimate_core.machine import format_bytes, free_memory, peak_memory, read_machine

if TYPE_CHECKING:
    from collections.abc import Generator

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


def check_memory(options: LoadOptions) -> None:
    """Refuse weights that are larger than the memory of the processor, before the system ends the process for it.

    Graphics cards tell by themselves when they are full. PyTorch is only imported when the answer is not plain.

    Raises:
        EasyAnimateError: When the weights do not fit.
    """
    if options.weights is None or options.weights.count_bytes(4) < free_memory():
        return
    if options.device not in (None, "cpu"):
        return
    devices = {device.name: device for device in read_machine().devices}
    device = devices.get(options.device or next(iter(devices), "cpu"))
    if device is None or device.name != "cpu":
        return
    dtype = options.dtype or device.dtypes[0]
    needed = options.weights.count_bytes(4 if dtype == "float32" else 2)
    if needed >= device.free_bytes:
        half = options.weights.count_bytes(2)
        narrower = ", or --dtype bfloat16" if dtype == "float32" and half < device.free_bytes else ""
        raise EasyAnimateError(
            "This machine has too little memory for these weights.",
            received=f"{format_bytes(needed)} of weights as {dtype}",
            expected=f"less than the {format_bytes(device.free_bytes)} that are free",
            fix=f"use smaller ones, such as --weights demo{narrower}",
        )


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
