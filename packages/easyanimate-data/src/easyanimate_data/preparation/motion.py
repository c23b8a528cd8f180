"""How much moves in a clip: dense optical flow between frames half a second apart."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from easyanimate_data.frames import Frames


def load() -> Callable[[Frames], dict[str, float | None]]:
    """The filter `motion` has no options and no model."""
    return score_motion


def score_motion(frames: Frames) -> dict[str, float | None]:
    """Mean length of Farneback's optical flow (G. Farneback, Two-Frame Motion Estimation, 2003).

    Args:
        frames: uint8 [T, H, W, 3], two a second.

    Returns:
        `motion_score`: in pixels per pair of frames, as the original; `motion_score_relative`: the same in thousandths
        of the frame's diagonal, so that it does not depend on the resolution. None for a single frame.
    """
    if len(frames) < 2:  # noqa: PLR2004 (a pair)
        return {"motion_score": None, "motion_score_relative": None}
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    score = float(np.mean([_mean_flow(before, after) for before, after in pairwise(greys)]))
    diagonal = float(np.hypot(*greys[0].shape))
    return {"motion_score": round(score, 5), "motion_score_relative": round(1000 * score / diagonal, 5)}


def _mean_flow(before: Frames, after: Frames) -> float:
    start = np.zeros((*before.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    return float(np.hypot(flow[..., 0], flow[..., 1]).mean())
