"""LCM-LoRA: what teacher and student are asked, the loss by hand, and that the LoRA alone learns."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from easyanimate_core.errors import RequestError
from easyanimate_dit.lora.apply import list_targets
from easyanimate_dit.lora.file import read_lora
from easyanimate_dit.training.config import LcmConfig, LoraConfig, TaskConfig
from easyanimate_train.config import DataConfig

LCM = LcmConfig(enabled=True, num_ddim_steps=10, guidance=(7.0, 7.0))


@dataclass
class Call:
    """What the transformer was asked, and what it answered."""

    noisy: torch.Tensor
    timesteps: torch.Tensor
    has_caption: bool
    has_image: bool
    has_lora: bool
    has_grad: bool
    prediction: torch.Tensor


class Recorder:
    """Stands for the transformer: its prediction tells caption from no caption, and LoRA from no LoRA."""

    def __init__(self, transformer, captions):
        self._transformer, self._captions = transformer, captions
        self.calls = []

    def __call__(self, noisy, timesteps, **condition):
        name = next(key for key in self._captions if key in condition)
        has_caption = torch.equal(condition[name], self._captions[name])
        has_image = any(value.any() for key, value in condition.items() if key.startswith("clip_"))
        has_lora = not any(
            module.disable_adapters for module in self._transformer.modules() if hasattr(module, "lora_A")
        )
        prediction = 0.5 * noisy + (1.0 if has_caption else -2.0) + (0.25 if has_lora else 0.0)
        self.calls.append(
            Call(noisy, timesteps.long(), has_caption, has_image, has_lora, torch.is_grad_enabled(), prediction)
        )
        return (prediction,)


@pytest.fixture
def recorded(configure, prepare):
    """A step of a distillation, with a recorder for the transformer: (task, calls, loss)."""
    config = configure(
        lcm=LCM,
        data=DataConfig(batches=((2, 8),), passes=1),
        task=TaskConfig(start_share=1.0, image_share=1.0),
    )
    task, shard, batch = prepare(config)
    recorder = Recorder(task._transformer, task._captions.encode(batch["text"]))
    task.trainable["transformer"].module = recorder
    return task, recorder.calls, task.compute("transformer", batch, shard, 0)["loss"]


def test_the_teacher_is_guided_and_the_student_sees_the_caption(recorded):
    _, calls, _ = recorded
    positive, negative, target, student = calls
    asked = [(call.has_caption, call.has_image, call.has_lora, call.has_grad) for call in calls]
    assert asked == [
        (True, True, False, False),
        (False, False, False, False),
        (True, True, True, False),
        (True, True, True, True),
    ]
    assert torch.equal(positive.noisy, negative.noisy)
    assert torch.equal(positive.noisy, student.noisy)
    assert torch.equal(positive.timesteps, student.timesteps)
    assert (target.timesteps < student.timesteps).all()


def test_the_loss_is_that_computed_by_hand(recorded):
    task, (positive, negative, target, student), loss = recorded
    guided = positive.prediction + 7.0 * (positive.prediction - negative.prediction)
    solver, start, end = task._solver, student.timesteps, target.timesteps
    less_noisy = solver.take_ddim_step(student.noisy, guided, start, end)
    torch.testing.assert_close(target.noisy, less_noisy)
    wanted = solver.predict_origin(less_noisy, 0.5 * less_noisy + 1.25, end)
    found = solver.predict_origin(student.noisy, 0.5 * student.noisy + 1.25, start)
    torch.testing.assert_close(loss, (found - wanted).square().mean())


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_distillation_changes_the_lora_alone(configure, train, build, read_losses, precision):
    config = configure(lcm=LCM, lora=LoraConfig(rank=2), mixed_precision=precision, gradient_checkpointing=True)
    pipeline = build()
    before = {path: module.weight.clone() for path, module in list_targets(pipeline.transformer).items()}
    weights = train(config, pipeline)
    assert np.isfinite(read_losses(config)).all()
    for path, module in list_targets(pipeline.transformer).items():
        assert torch.equal(module.weight, before[path]), path
    layers = read_lora(weights / "lora.safetensors").layers["transformer"]
    assert sum(bool(layer.up.any()) for layer in layers.values()) > 0.9 * len(layers)


def test_processes_share_what_a_distillation_draws(configure, compute_loss):
    task = TaskConfig(start_share=0.5, blank_share=0.0)
    config = configure(lcm=LCM, data=DataConfig(batches=((4, 8),), passes=1), task=task)
    whole = compute_loss(config)
    halves = [compute_loss(config, rank=rank, num_ranks=2) for rank in (0, 1)]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-5)


def test_guidance_is_drawn_from_its_range(configure, prepare):
    lcm = LcmConfig(enabled=True, num_ddim_steps=10, guidance=(3.0, 5.0))
    task, shard, _ = prepare(configure(lcm=lcm, data=DataConfig(batches=((64, 1),), passes=1)))
    steps, guidance = task._draw_steps(shard, torch.device("cpu"))
    assert set(steps.tolist()) == set(range(10))
    assert guidance.min() >= 3
    assert guidance.max() <= 5
    assert guidance.max() - guidance.min() > 1.5


def test_a_distillation_refuses_what_it_cannot_do(configure):
    with pytest.raises(RequestError, match="cannot train the text encoder"):
        configure(lcm=LCM, lora=LoraConfig(text_encoder=True))
    with pytest.raises(RequestError, match="must be a range"):
        LcmConfig(guidance=(9.0, 3.0))
    with pytest.raises(RequestError, match="out of range"):
        LcmConfig(huber_c=0.0)
