"""The frame rates of a training set: frames at one rate, and a word where clips differ.

A model knows frames, not seconds: it learns the same motion at another speed from clips of another rate.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from easyanimate_core.rate import resample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_data.timeline import Timeline
    from easyanimate_data.training.entry import Entry

SAME = 0.01
"""Share by which rates may differ and be the same: 23.976 and 24."""

_SHOWN = 8


def list_ticks(timeline: Timeline, fps: float | None) -> Sequence[int]:
    """Frames of a video at a rate, by their indices at its own: the nearest in time, repeated where it is slower.

    Args:
        timeline: Of the video.
        fps: Frames per second; None keeps the video's own.
    """
    total = len(timeline)
    return range(total) if fps is None else resample(total, timeline.fps, fps)


def warn_of_rates(entries: Iterable[Entry], fps: float | None) -> str | None:
    """What is to be said of the rates of a set's videos, if anything.

    Args:
        entries: All rows; those without a known rate count for nothing.
        fps: The rate that frames are brought to; None leaves each clip its own.
    """
    rates = Counter(round(entry.fps, 3) for entry in entries if entry.kind == "video" and entry.fps)
    if not rates:
        return None
    if fps is None:
        if max(rates) <= min(rates) * (1 + SAME):
            return None
        found = [f"{rate:g} ({count:,})" for rate, count in sorted(rates.items())]
        listed = ", ".join([*found[:_SHOWN], *(["..."] if len(found) > _SHOWN else [])])
        usual = rates.most_common(1)[0][0]
        return (
            f"The clips have different frame rates: {listed} frames per second (clips). The same motion is learnt at "
            f"different speeds. Set a common rate with data.fps, for example --data.fps {usual:g}."
        )
    slower = {rate: count for rate, count in rates.items() if rate * (1 + SAME) < fps}
    if not slower:
        return None
    return (
        f"{sum(slower.values()):,} clips have fewer frames per second (from {min(slower):g}) than data.fps {fps:g}: "
        "their frames are repeated, which keeps the speed of motion but not its smoothness. Lower data.fps, or leave "
        "them out."
    )
