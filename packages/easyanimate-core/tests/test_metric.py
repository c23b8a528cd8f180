"""PSNR against its definition."""

import numpy as np
import pytest
from easyanimate_core import RequestError
from easyanimate_core.metric import compute_psnr


def test_known_errors():
    black = np.zeros((4, 8, 12, 3), np.uint8)
    other = black.copy()
    other[1] = 10
    other[2] = 255
    other[3, :4] = 255  # half of the picture
    psnr = compute_psnr(black, other)
    assert psnr.shape == (4,)
    assert psnr == pytest.approx([np.inf, 28.1308, 0.0, 3.0103], abs=1e-4)
    assert float(compute_psnr(black[1], other[1])) == psnr[1]


def test_both_kinds_of_pixels_give_the_same():
    noise = np.random.default_rng(0)
    first, second = noise.integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    floats = compute_psnr(first / np.float32(255), second / np.float32(255))
    assert floats == pytest.approx(compute_psnr(first, second), abs=1e-5)
    # Rounding below zero must not wrap around.
    assert np.array_equal(compute_psnr(first, second), compute_psnr(second, first))


def test_pictures_that_cannot_be_compared_are_refused():
    black = np.zeros((4, 4, 3), np.uint8)
    for other in (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(RequestError, match="same shape and the same kind"):
            compute_psnr(black, other)
