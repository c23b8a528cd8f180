"""Motion grows with speed; the relative score does not depend on the size."""

import numpy as np
import pytest
from easyanimate_data.preparation.motion import score_motion


def slide(shift, size=96):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (size // 8, size // 8 + 40, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([picture[:, shift * t : shift * t + size] for t in range(4)]).astype(np.uint8)


def test_a_shift_is_measured_in_pixels():
    assert score_motion(slide(0))["motion_score"] < 0.01
    assert score_motion(slide(2))["motion_score"] == pytest.approx(2, rel=0.25)


def test_the_relative_score_is_per_diagonal():
    scores = score_motion(slide(3))
    assert scores["motion_score_relative"] == pytest.approx(1000 * scores["motion_score"] / np.hypot(96, 96), abs=1e-4)


def test_one_frame_does_not_move():
    assert score_motion(slide(1)[:1]) == {"motion_score": None, "motion_score_relative": None}
