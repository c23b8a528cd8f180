"""Samplers by name, and noise that comes from outside."""

import pytest
import tiny_dit
import torch
from easyanimate_core import RequestError, SchedulerSpec
from easyanimate_dit.sampling import scheduler as module
from easyanimate_dit.sampling.noise import SeededNoise
from easyanimate_dit.sampling.scheduler import make_scheduler, set_timesteps, take_step

CONFIG = tiny_dit.SCHEDULER
NAMES = ["euler", "euler_a", "dpm++", "pndm", "ddim", "lcm"]


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
def test_euler_ancestral_with_noise_from_outside_is_diffusers_own(prediction_type):
    latents = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    results = []
    for outside in (False, True):
        scheduler = make_scheduler("euler_a", CONFIG | {"prediction_type": prediction_type})
        timesteps = set_timesteps(scheduler, 4, 1.0)
        noise = SeededNoise(torch.Generator().manual_seed(5))
        current = latents * scheduler.init_noise_sigma
        for timestep in timesteps:
            prediction = torch.tanh(scheduler.scale_model_input(current, timestep))
            if outside:
                current = take_step(scheduler, prediction, timestep, current, noise)
            else:
                current = scheduler.step(prediction, timestep, current, generator=noise.generator, return_dict=False)[0]
        results.append(current)
    assert torch.equal(*results)


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_repeatable_without_the_global_state(name):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scheduler = make_scheduler(name, CONFIG)
        noise = SeededNoise(torch.Generator().manual_seed(5))
        current = torch.ones(1, 4, 1, 2, 2)
        for timestep in set_timesteps(scheduler, 5, 1.0):
            current = take_step(scheduler, current * 0.1, timestep, current, noise)
        results.append(current)
    assert torch.equal(*results)


def test_strength_skips_the_first_steps():
    scheduler = make_scheduler("ddim", CONFIG)
    everything = set_timesteps(scheduler, 6, 1.0)
    assert torch.equal(set_timesteps(scheduler, 6, 0.5), everything[3:])
    assert len(set_timesteps(scheduler, 4, 0.7)) == 2
    with pytest.raises(RequestError, match="no step"):
        set_timesteps(scheduler, 4, 0.2)


def test_the_few_steps_of_a_consistency_model_are_the_original_ones_and_no_more_than_there_are():
    scheduler = make_scheduler("lcm", CONFIG)
    assert set_timesteps(scheduler, 4, 1.0).tolist() == [999, 759, 499, 259]
    with pytest.raises(RequestError, match="cannot take that many steps"):
        set_timesteps(scheduler, 51, 1.0)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(RequestError, match=r"euler_a(?s:.*)did you mean dpm\+\+"):
        make_scheduler("dpm", CONFIG)


def test_samplers_of_plugins_are_made_the_same_way(monkeypatch):
    spec = SchedulerSpec(name="heun", summary="second order", create="diffusers:HeunDiscreteScheduler.from_config")

    class Plugins:
        def schedulers(self):
            return {"heun": spec}

    monkeypatch.setattr(module, "load_plugins", Plugins)
    scheduler = make_scheduler("heun", CONFIG)
    timesteps = set_timesteps(scheduler, 3, 1.0)
    noise, current = SeededNoise(), torch.ones(1, 4, 1, 2, 2)
    for timestep in timesteps:
        current = take_step(scheduler, current * 0.1, timestep, current, noise)
    assert current.isfinite().all()
