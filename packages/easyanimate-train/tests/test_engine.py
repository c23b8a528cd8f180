"""Gradients under DeepSpeed, whose optimiser clips by itself; `easyanimate-v4` has the tests with the real one."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from easyanimate_core import RequestError
from easyanimate_train.config import OptimizerConfig
from easyanimate_train.engine import set_clipping
from easyanimate_train.optimizer import clip_gradients
from easyanimate_train.task import TrainableModel
from torch import nn

DEEPSPEED = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED)
SETTINGS = OptimizerConfig(max_grad_norm=1.0, first_norm_ratio=5.0, abnormal_after=10)


class ZeroOptimizer:
    """Clips as DeepSpeed's optimisers do: gradients and their norm are multiplied by the scale of the loss."""

    loss_scale = 4.0
    clip_grad = 1.0

    def unscale_and_clip_grads(self, gradients, total_norm):
        clip = max((total_norm / self.loss_scale + 1e-6) / self.clip_grad, 1.0)
        gradients.mul_(1 / (clip * self.loss_scale))


class Clipper:
    """What accelerate does on one process."""

    def clip_grad_norm_(self, parameters, limit):
        return nn.utils.clip_grad_norm_(parameters, limit)


@pytest.mark.parametrize("step", [0, 5, 11])
@pytest.mark.parametrize("norm", [0.5, 3.0, 7.0, 70.0])
def test_deepspeed_clips_as_one_process_does(norm, step):
    gradient = torch.tensor([0.6, 0.8]) * norm
    module = nn.Linear(2, 1, bias=False)
    module.weight.grad = gradient[None].clone()
    model = TrainableModel(module, [(1.0, list(module.parameters()))], SETTINGS)
    clip_gradients(Clipper(), model, step)
    zero = ZeroOptimizer()
    for earlier in (0, step):  # the limit of the step before does not stay
        set_clipping(DEEPSPEED, SimpleNamespace(optimizer=zero), model, earlier)
    scaled = gradient * zero.loss_scale
    zero.unscale_and_clip_grads(scaled, norm * zero.loss_scale)
    assert scaled.tolist() == pytest.approx(module.weight.grad[0].tolist(), rel=1e-5)


def test_a_stage_that_cannot_clip_so_is_refused():
    model = TrainableModel(nn.Linear(1, 1), [], SETTINGS)
    with pytest.raises(RequestError, match="same norm in all steps"):
        set_clipping(DEEPSPEED, SimpleNamespace(optimizer=object()), model, 0)
    others = TrainableModel(nn.Linear(1, 1), [], OptimizerConfig())
    set_clipping(DEEPSPEED, SimpleNamespace(optimizer=object()), others, 0)


def test_other_engines_are_left_alone():
    zero = ZeroOptimizer()
    one = SimpleNamespace(distributed_type=DistributedType.NO)
    set_clipping(one, SimpleNamespace(optimizer=zero), TrainableModel(nn.Linear(1, 1), [], SETTINGS), 0)
    assert vars(zero) == {}
