"""The loss of V1 to V3: what it is zero for, what learns from which part, and which schedules it fits."""

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_dit.training.variational import NoiseSchedule, read_schedule

LINEAR = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 2, 4, 4)
    return {name: torch.randn(shape, generator=generator).clamp(-1, 1) for name in ("latents", "noise")}


def test_the_right_noise_and_the_smallest_variance_cost_nothing(draw):
    output = torch.cat([draw["noise"], -torch.ones_like(draw["noise"])], dim=1)
    index = torch.tensor([1, 400, 999])
    loss = NoiseSchedule().compute_loss(output, **draw, index=index)
    assert loss.mse.abs().max() == 0
    assert loss.bound.abs().max() < 1e-3
    wider = NoiseSchedule().compute_loss(output.abs(), **draw, index=index)
    assert (wider.total > loss.total).all()


def test_the_bound_teaches_the_variance_alone(draw):
    output = torch.zeros(3, 8, 2, 4, 4, requires_grad=True)
    index = torch.tensor([0, 10, 700])
    NoiseSchedule().compute_loss(output, **draw, index=index).bound.sum().backward()
    assert output.grad[:, :4].abs().max() == 0
    assert (output.grad[:, 4:].flatten(1).abs().amax(1) > 0).all()


def test_early_steps_are_judged_by_the_clean_latents(draw):
    output, index = torch.zeros(3, 8, 2, 4, 4), torch.tensor([249, 250, 999])
    plain = NoiseSchedule().compute_loss(output, **draw, index=index)
    snr = NoiseSchedule().compute_loss(output, **draw, index=index, snr=True)
    assert plain.mse[0] != snr.mse[0]
    assert torch.equal(plain.mse[1:], snr.mse[1:])


def test_fewer_steps_keep_the_ends_and_the_numbers():
    timesteps = NoiseSchedule(100).timesteps
    assert len(timesteps) == 100
    assert (timesteps[0], timesteps[-1]) == (0, 999)
    assert (timesteps.diff() >= 10).all()


def test_a_schedule_of_another_kind_is_refused():
    assert len(read_schedule(LINEAR).timesteps) == 1000
    for change in ({"beta_schedule": "scaled_linear"}, {"prediction_type": "v_prediction"}):
        with pytest.raises(RequestError, match="use loss: mse"):
            read_schedule(LINEAR | change)
