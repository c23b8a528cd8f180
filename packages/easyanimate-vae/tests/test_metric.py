"""PSNR and SSIM against their definitions and scikit-image; pictures side by side."""

import numpy as np
import pytest
import torch
from easyanimate_core.errors import RequestError
from easyanimate_vae.training.metric import compute_psnr, compute_ssim, side_by_side


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (2, 3, 3, 20, 28), dtype=torch.uint8, generator=generator)
    noise = torch.randint(-20, 21, pixels.shape, generator=generator)
    return pixels, (pixels + noise).clamp(0, 255).to(torch.uint8)


def test_both_kinds_of_pixels_give_the_same(clips):
    floats = [clip / 127.5 - 1 for clip in clips]
    for measure in (compute_psnr, compute_ssim):
        torch.testing.assert_close(measure(*floats), measure(*clips), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(measure(floats[0], clips[1]), measure(*clips), atol=1e-4, rtol=1e-4)


def test_psnr_of_known_errors():
    pixels = torch.zeros(1, 3, 3, 8, 8)
    decoded = pixels.clone()
    decoded[:, :, 1] = 0.2  # a tenth of the range
    decoded[:, :, 2] = 9.0  # cut off at white, half the range away
    torch.testing.assert_close(compute_psnr(pixels, decoded), torch.tensor([[120.0, 20.0, 6.0206]]))


def test_ssim_is_that_of_scikit_image(clips):
    metrics = pytest.importorskip("skimage.metrics")
    own = compute_ssim(*clips)
    for clip in range(2):
        for frame in range(3):
            expected = metrics.structural_similarity(
                *(pictures[clip, :, frame].numpy() for pictures in clips),
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            assert float(own[clip, frame]) == pytest.approx(expected, abs=1e-4)


def test_ssim_is_one_for_equal_frames_and_falls_with_noise(clips):
    pixels, noisy = clips
    torch.testing.assert_close(compute_ssim(pixels, pixels), torch.ones(2, 3))
    assert compute_ssim(pixels, noisy).max() < 0.999
    assert compute_ssim(pixels, pixels.flip(-1)).max() < 0.2


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(RequestError, match="10 x 64 pixels"):
        compute_ssim(torch.zeros(1, 3, 1, 10, 64), torch.zeros(1, 3, 1, 10, 64))


def test_pictures_side_by_side(clips):
    pixels, decoded = (clip[0] for clip in clips)
    frames = side_by_side(pixels, decoded / 127.5 - 1)
    assert frames.dtype == np.uint8
    assert frames.shape == (3, 20, 56, 3)
    assert np.array_equal(frames[:, :, :28], pixels.permute(1, 2, 3, 0).numpy())
    assert np.array_equal(frames[:, :, 28:], decoded.permute(1, 2, 3, 0).numpy())
