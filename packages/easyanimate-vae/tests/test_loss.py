"""The loss of VAE training: its parts, and what the first frame and the anchor count."""

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from easyanimate_vae.training.config import LossConfig
from easyanimate_vae.training.loss import compute_loss, measure_psnr


def judge(config, pixels, decoded, *, moments=None, progress=0.0, distance=None):
    posterior = DiagonalGaussianDistribution(torch.zeros(1, 8, 1, 1, 1) if moments is None else moments)
    return compute_loss(
        config, pixels=pixels, decoded=decoded, posterior=posterior, progress=progress, distance=distance
    )


def test_loss_is_the_weighted_sum_of_its_parts():
    pixels, decoded = torch.zeros(1, 3, 2, 8, 8), torch.zeros(1, 3, 2, 8, 8)
    decoded[:, 0] = 0.5
    loss = judge(LossConfig(l1=1.0, mse=2.0, colour=3.0, kl=1.0), pixels, decoded)
    # A third of the channels is off by 0.5; two of the three colour differences are.
    assert float(loss.parts["l1"]) == pytest.approx(0.5 / 3)
    assert float(loss.parts["mse"]) == pytest.approx(0.25 / 3)
    assert float(loss.parts["colour"]) == pytest.approx(0.5 / 3)
    assert float(loss.parts["kl"]) == 0.0
    assert float(loss.total) == pytest.approx((0.5 + 2 * 0.25 + 3 * 0.5) / 3)


def test_what_is_visible_is_all_but_the_latents():
    pixels = torch.rand(1, 3, 8, 16, 16) * 2 - 1
    config = LossConfig(l1=1.0, mse=0.0, colour=0.0, kl=0.5, anchor=0.25)
    loss = judge(config, pixels, pixels + 0.1, moments=torch.ones(1, 8, 2, 2, 2))
    assert float(loss.reconstruction) == pytest.approx(0.1)
    expected = 0.1 + 0.5 * loss.parts["kl"] + 0.25 * loss.parts["anchor"]
    assert float(loss.total) == pytest.approx(float(expected))


def test_first_frame_can_count_more():
    pixels, decoded = torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 3, 4, 8, 8)
    decoded[:, :, 0] = 0.5
    for first, share in ((1.0, 1 / 4), (5.0, 5 / 8)):
        loss = judge(
            LossConfig(first_frame=first, perceptual=1.0),
            pixels,
            decoded,
            distance=lambda pixels, decoded: (pixels - decoded).abs().mean(dim=(1, 3, 4)),
        )
        assert float(loss.parts["l1"]) == pytest.approx(0.5 * share)
        assert float(loss.parts["perceptual"]) == pytest.approx(0.5 * share)


def test_anchor_fades_out():
    pixels = torch.rand(1, 3, 8, 16, 16) * 2 - 1
    config = LossConfig(anchor=1.0, anchor_share=0.5)
    losses = [
        float(judge(config, pixels, pixels, moments=torch.zeros(1, 8, 2, 2, 2), progress=progress).total)
        for progress in (0.0, 0.25, 0.5)
    ]
    assert losses[0] == pytest.approx(2 * losses[1])
    assert losses[2] == 0.0


def test_psnr_of_pixels_between_minus_one_and_one():
    assert float(measure_psnr(torch.tensor(4.0))) == pytest.approx(0.0)
    assert float(measure_psnr(torch.tensor(0.04))) == pytest.approx(20.0)
    assert float(measure_psnr(torch.tensor(0.0))) == pytest.approx(126.02, abs=0.01)
