"""Learning rates and the clipping of gradients."""

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_train.config import OptimizerConfig
from easyanimate_train.optimizer import clip_gradients, find_factor, find_limit, make_optimizer, set_learning_rate
from easyanimate_train.task import TrainableModel
from torch import nn


class Clipper:
    """What accelerate does on one process."""

    def clip_grad_norm_(self, parameters, limit):
        return nn.utils.clip_grad_norm_(parameters, limit)


def make_model(norm, **settings):
    module = nn.Linear(2, 1, bias=False)
    module.weight.grad = torch.tensor([[0.6, 0.8]]) * norm
    return TrainableModel(module, [(1.0, list(module.parameters()))], OptimizerConfig(**settings))


def test_flat_rises_stays_and_falls():
    config = OptimizerConfig(warmup_steps=10, flat_share=0.5)
    factors = [find_factor(config, step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[:10] == sorted(factors[:10])
    assert set(factors[10:50]) == {1.0}
    assert factors[50:] == sorted(factors[50:], reverse=True)
    assert factors[75] == pytest.approx(0.5)
    assert min(factors) == pytest.approx(0.02)


@pytest.mark.parametrize(("schedule", "middle", "end"), [("constant", 1, 1), ("linear", 0.5, 0), ("cosine", 0.5, 0)])
def test_schedules(schedule, middle, end):
    config = OptimizerConfig(schedule=schedule, warmup_steps=0)
    assert find_factor(config, 0, 100) == pytest.approx(1)
    assert find_factor(config, 50, 100) == pytest.approx(middle)
    assert find_factor(config, 100, 100) == pytest.approx(end)


def test_groups_have_their_share_of_the_rate():
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [(1.0, list(one.parameters())), (0.5, list(other.parameters())), (0.1, [])]
    model = TrainableModel(nn.ModuleList([one, other]), groups, OptimizerConfig(learning_rate=0.2, warmup_steps=4))
    optimizer = make_optimizer(model)
    assert set_learning_rate(optimizer, model, 1, 100) == pytest.approx(0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.05])


def test_the_limit_falls_to_the_norm():
    config = OptimizerConfig(max_grad_norm=0.05, first_norm_ratio=5.0, abnormal_after=1000)
    assert [find_limit(config, step) for step in (0, 500, 1000, 5000)] == pytest.approx([0.25, 0.15, 0.05, 0.05])
    assert find_limit(OptimizerConfig(first_norm_ratio=5.0), 0) == 1.0


@pytest.mark.parametrize(
    ("norm", "step", "expected"),
    [(0.5, 20, 0.5), (3.0, 20, 1.0), (7.0, 20, 1 / 7), (50.0, 20, 0.1), (50.0, 10, 1.0)],
    ids=["small", "clipped", "abnormal", "most abnormal", "too early"],
)
def test_abnormal_gradients_are_clipped_further(norm, step, expected):
    model = make_model(norm, abnormal_after=10)
    assert float(clip_gradients(Clipper(), model, step)) == pytest.approx(norm)
    assert float(model.parameters[0].grad.norm()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["adamw8bit", "came"])
def test_an_optimiser_that_is_not_installed_names_its_package(kind, monkeypatch):
    import sys

    for name in ("bitsandbytes", "bitsandbytes.optim", "came_pytorch"):
        monkeypatch.setitem(sys.modules, name, None)
    betas = (0.9, 0.999, 0.9999) if kind == "came" else (0.9, 0.999)
    with pytest.raises(RequestError, match="not installed") as caught:
        make_optimizer(make_model(1.0, kind=kind, betas=betas))
    assert "easyanimate-train[" in caught.value.fix


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": -1.0}, {"betas": (0.9,)}, {"kind": "came"}, {"max_grad_norm": 0.0}, {"betas": (0.9, 1.0)}],
)
def test_settings_that_no_optimiser_takes(settings):
    with pytest.raises(RequestError):
        OptimizerConfig(**settings)
