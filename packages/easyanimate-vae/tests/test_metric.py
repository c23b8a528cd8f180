"""PSNR and SSIM against their definitions; pictures side by side."""

import numpy as np
import pytest
import torch
from easyanimate_core.errors import RequestError
from easyanimate_vae.training.metric import compare_frames, side_by_side


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (2, 3, 3, 20, 28), dtype=torch.uint8, generator=generator)
    noise = torch.randint(-20, 21, pixels.shape, generator=generator)
    return pixels, (pixels + noise).clamp(0, 255).to(torch.uint8)


def test_both_kinds_of_pixels_give_the_same(clips):
    floats = [clip / 127.5 - 1 for clip in clips]
    expected = compare_frames(*clips)
    assert {name: value.shape for name, value in expected.items()} == {"psnr": (2, 3), "ssim": (2, 3)}
    for pair in (floats, (floats[0], clips[1])):
        for name, found in compare_frames(*pair).items():
            torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-4)


def test_psnr_of_known_errors():
    pixels = torch.zeros(1, 3, 3, 16, 16)
    decoded = pixels.clone()
    decoded[:, :, 1] = 0.2  # a tenth of the range
    decoded[:, :, 2] = 9.0  # cut off at white, half the range away
    torch.testing.assert_close(compare_frames(pixels, decoded)["psnr"], torch.tensor([[120.0, 20.0, 6.0206]]))


def test_ssim_of_one_window_is_that_of_the_paper(clips):
    """Equation 13 of Wang et al. 2004, per colour, on frames that hold a single window."""
    first, second = (clip[..., :11, 5:16] for clip in clips)
    x, y = (clip.double().numpy() / 255 for clip in (first, second))
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(values):
        return (values * window).sum(axis=(-1, -2))

    covariance = mean(x * y) - mean(x) * mean(y)
    variances = mean(x**2) - mean(x) ** 2 + mean(y**2) - mean(y) ** 2
    similarity = (2 * mean(x) * mean(y) + 0.01**2) * (2 * covariance + 0.03**2)
    similarity /= (mean(x) ** 2 + mean(y) ** 2 + 0.01**2) * (variances + 0.03**2)
    found = compare_frames(first, second)["ssim"]
    assert found.numpy() == pytest.approx(similarity.mean(axis=1), abs=1e-5)


def test_ssim_is_one_for_equal_frames_and_falls_with_noise(clips):
    pixels, noisy = clips
    torch.testing.assert_close(compare_frames(pixels, pixels)["ssim"], torch.ones(2, 3))
    assert compare_frames(pixels, noisy)["ssim"].max() < 0.999
    assert compare_frames(pixels, pixels.flip(-1))["ssim"].max() < 0.2


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(RequestError, match="10 x 64 pixels"):
        compare_frames(torch.zeros(1, 3, 1, 10, 64), torch.zeros(1, 3, 1, 10, 64))


def test_pictures_side_by_side(clips):
    pixels, decoded = (clip[0] for clip in clips)
    frames = side_by_side(pixels, decoded / 127.5 - 1)
    assert frames.dtype == np.uint8
    assert frames.shape == (3, 20, 56, 3)
    assert np.array_equal(frames[:, :, :28], pixels.permute(1, 2, 3, 0).numpy())
    assert np.array_equal(frames[:, :, 28:], decoded.permute(1, 2, 3, 0).numpy())
