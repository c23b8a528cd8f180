"""Frames at a constant rate: which of those that a file has shows at which tick."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# NumPy leaves some of its types open.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_RATE = 1000.0
"""Frames per second above which a file's own word on its rate is not believed."""

RATE_LIMIT = 1001
"""The greatest denominator of a rate as a fraction: that of the broadcast rates, such as 30000/1001."""

MAX_TICKS = 4_000_000
"""The most frames that a video may have at its constant rate: two days and more at 24 a second."""


def constant_rate(
    times: Sequence[float], fps: float, limit: int | None = None, path: Path | None = None
) -> Sequence[int]:
    """Index of the frame to show at each tick of a constant rate.

    Args:
        times: Rising presentation times of the frames, in seconds.
        fps: Ticks per second.
        limit: The most ticks that are wanted.
        path: The file, for messages.

    Returns:
        0, 1, 2, ... where the frames come evenly already; else, for each tick from the first frame to the last, the
        newest frame that has come by the middle of the tick.

    Raises:
        MediaError: When a jump in the times makes more than `MAX_TICKS`, and no limit was given.
    """
    import numpy as np

    stamps = np.asarray(times, np.float64) - times[0]
    steps = np.diff(stamps)
    # Containers round times to a millisecond and more: a quarter of the usual step is no irregularity.
    if len(steps) == 0 or np.all(np.abs(steps - np.median(steps)) <= np.median(steps) / 4):
        return range(len(times))
    count = round(min(stamps[-1] * fps, 2.0**60)) + 1
    if limit is not None:
        count = min(count, limit)
    if count > MAX_TICKS:
        raise MediaError(
            "The times of the frames jump.",
            received=f"{path or 'a video'}: {len(times)} frames over {stamps[-1] / 3600:,.0f} hours",
            expected=f"at most {MAX_TICKS:,} frames at {fps:g} a second",
            fix="encode it anew at a constant rate, for example with ffmpeg",
        )
    middles = (np.arange(count) + 0.5) / fps
    return cast("list[int]", (np.searchsorted(stamps, middles) - 1).tolist())


def resample(total: int, fps: float, wanted_fps: float) -> list[int]:
    """For each tick of a wanted rate the nearest in time of evenly spaced frames, the earlier of two.

    Args:
        total: How many frames there are, at least one.
        fps: Frames per second.
        wanted_fps: Ticks per second; may be more than `fps`, which repeats frames.

    Returns:
        Indices from 0 on, rising; as many as fill the same time, at least one.
    """
    # What lies within a thousandth of the middle is a tie: rates are rounded.
    step = fps / wanted_fps
    count = max(round(total / step), 1)
    return [min(max(math.ceil(tick * step - 0.501), 0), total - 1) for tick in range(count)]
