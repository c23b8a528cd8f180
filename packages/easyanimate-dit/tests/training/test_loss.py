"""Timesteps, targets and the mean squared error."""

import pytest
import torch
from diffusers import DDPMScheduler
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target


def test_timesteps_of_both_kinds_are_in_range():
    generator = torch.Generator().manual_seed(0)
    uniform = draw_timesteps("uniform", 4000, num_train_timesteps=1000, generator=generator)
    normal = draw_timesteps("logit_normal", 4000, num_train_timesteps=1000, generator=generator)
    for drawn in (uniform, normal):
        assert drawn.min() >= 0
        assert drawn.max() <= 999
        assert drawn.float().mean() == pytest.approx(500, abs=20)
    # sigmoid(N(0, 1)) gathers in the middle.
    assert normal.float().std() < 0.8 * uniform.float().std()


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
def test_target_leads_back_to_the_latents(prediction_type):
    scheduler = DDPMScheduler(prediction_type=prediction_type, clip_sample=False)
    latents, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).unbind(0)
    timestep = torch.tensor([400])
    noisy = scheduler.add_noise(latents, noise, timestep)
    target = make_target(scheduler, latents, noise, timestep)
    restored = scheduler.step(target, 400, noisy).pred_original_sample
    assert torch.allclose(restored, latents, atol=1e-4)


def test_loss_ignores_the_variance_channels_and_weighs_motion():
    target = torch.zeros(1, 1, 3, 1, 1)
    prediction = torch.full((1, 2, 3, 1, 1), 9.0)
    prediction[0, 0, :, 0, 0] = torch.tensor([0.0, 1.0, 0.0])
    assert float(compute_loss(prediction, target)) == pytest.approx(1 / 3)
    assert float(compute_loss(prediction, target, motion_sub_loss=0.25)) == pytest.approx(0.75 / 3 + 0.25 * 1.0)
