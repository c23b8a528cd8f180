"""Where frozen models are: on the device all the time, or only while they are used."""

from types import SimpleNamespace

import pytest
import torch
from easyanimate_dit.training.frozen_models import FrozenModels
from torch import nn

GPU, CPU = torch.device("cuda"), torch.device("cpu")


class Model(nn.Linear):
    """Remembers where it was moved to, and in which number format."""

    device, dtype = CPU, torch.float32

    def __init__(self):
        super().__init__(1, 1)

    def to(self, target):
        if isinstance(target, torch.device):
            self.device = target
        else:
            self.dtype = target
        return self


@pytest.fixture
def pipeline():
    return SimpleNamespace(vae=Model(), text_encoder=Model(), text_encoder_2=None, image_encoder=Model())


def where(pipeline):
    return [pipeline.vae.device, pipeline.text_encoder.device, pipeline.image_encoder.device]


def test_models_stay_on_the_device(pipeline):
    frozen = FrozenModels(pipeline, keep_on_device=True)
    frozen.move(GPU)
    with frozen.on_device("vae"):
        assert where(pipeline) == [GPU] * 3
    assert where(pipeline) == [GPU] * 3


def test_models_are_on_the_device_only_while_they_are_used(pipeline):
    frozen = FrozenModels(pipeline, keep_on_device=False)
    frozen.move(GPU)
    assert frozen.device == GPU
    assert where(pipeline) == [CPU] * 3
    with frozen.on_device("text_encoder", "text_encoder_2"):
        assert where(pipeline) == [CPU, GPU, CPU]
    assert where(pipeline) == [CPU] * 3


def test_a_failure_leaves_no_model_on_the_device(pipeline):
    frozen = FrozenModels(pipeline, keep_on_device=False)
    frozen.move(GPU)
    with pytest.raises(MemoryError), frozen.on_device("vae"):
        raise MemoryError
    assert where(pipeline) == [CPU] * 3


def test_models_are_frozen_and_narrowed_but_for_those_that_are_trained(pipeline):
    pipeline.text_encoder.train()
    frozen = FrozenModels(pipeline, keep_on_device=True, dtype=torch.float16, exclude=("text_encoder",))
    assert list(frozen.modules) == ["vae", "image_encoder"]
    assert not pipeline.vae.weight.requires_grad
    assert not pipeline.vae.training
    assert pipeline.image_encoder.dtype == torch.float16
    assert pipeline.vae.dtype == torch.float32  # it overflows in float16
    assert pipeline.text_encoder.weight.requires_grad
    assert pipeline.text_encoder.training
