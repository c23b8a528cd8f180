"""Consistency distillation: its formulas, against numbers computed by hand and against diffusers."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, LCMScheduler
from easyanimate_core.errors import RequestError
from easyanimate_dit.training.config import LcmConfig
from easyanimate_dit.training.consistency import ConsistencySolver, compute_consistency_loss

CONFIG = {"beta_start": 0.00085, "beta_end": 0.03, "beta_schedule": "scaled_linear", "clip_sample": False}


@pytest.fixture
def build():
    def make(prediction_type="v_prediction", **changes):
        return ConsistencySolver(DDPMScheduler(**CONFIG, prediction_type=prediction_type), LcmConfig(**changes))

    return make


@pytest.fixture
def latents():
    """Noisy latents and a prediction, two of each."""
    return torch.randn(2, 2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_the_solver_takes_the_timesteps_of_the_original(build):
    solver = build()
    assert solver.timesteps.tolist() == list(range(19, 1000, 20))
    assert solver.previous_timesteps.tolist() == [0, *range(19, 980, 20)]
    with pytest.raises(RequestError, match="too large"):
        build(num_ddim_steps=1001)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
def test_a_step_is_that_of_diffusers(build, latents, prediction_type):
    solver = build(prediction_type)
    scheduler = DDIMScheduler(**CONFIG, prediction_type=prediction_type, set_alpha_to_one=False)
    scheduler.set_timesteps(50)
    for index in (0, 1, 49):
        start, end = solver.timesteps[[index]], solver.previous_timesteps[[index]]
        noisy, prediction = latents[:, :1]
        expected = scheduler.step(prediction, int(start), noisy).prev_sample
        torch.testing.assert_close(solver.take_ddim_step(noisy, prediction, start, end), expected)


def test_a_jump_is_mixed_by_hand_computed_shares(build, latents):
    solver = build(timestep_scaling=0.1)
    noisy, prediction = latents
    timesteps = torch.tensor([0, 15])
    kept = DDPMScheduler(**CONFIG).alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
    clean = kept.sqrt() * noisy - (1 - kept).sqrt() * prediction
    # tau t = 1.5: c_skip = 0.25 / (2.25 + 0.25), c_out = 1.5 / sqrt(2.25 + 0.25)
    found = solver.predict_origin(noisy, prediction, timesteps)
    torch.testing.assert_close(found[0], noisy[0])
    torch.testing.assert_close(found[1], 0.1 * noisy[1] + 0.9486833 * clean[1])


def test_a_jump_is_that_of_the_sampler(build, latents):
    solver, scheduler = build(), LCMScheduler(**CONFIG, prediction_type="v_prediction")
    scheduler.set_timesteps(4)
    noisy, prediction = latents[:, :1]
    denoised = scheduler.step(prediction, scheduler.timesteps[0], noisy).denoised
    torch.testing.assert_close(solver.predict_origin(noisy, prediction, scheduler.timesteps[:1]), denoised)


def test_the_distances_are_those_computed_by_hand():
    found, target = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.0])
    assert compute_consistency_loss(found, target, LcmConfig()) == 4.5
    huber = compute_consistency_loss(found, target, LcmConfig(loss="huber", huber_c=4.0))
    assert huber == pytest.approx(0.5)  # (sqrt(9 + 16) - 4) / 2
