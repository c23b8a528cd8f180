"""Adversarial training of the VAE: when the discriminator counts, and which weights its verdict reaches."""

import json

import pytest
import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from easyanimate_core import RequestError
from easyanimate_train.loop import TrainingRun
from easyanimate_vae.training.config import DiscriminatorConfig, LossConfig
from easyanimate_vae.training.run import prepare_task, train_vae


@pytest.fixture
def begin(configure):
    """Function from settings to a run that can be taken step by step, its batches, and the discriminator."""

    def begin(name, **changes):
        config = configure(name, **changes)
        task, dataset = prepare_task(config)
        run = TrainingRun(task, config, dataset)
        return run, iter(run.stream), task.trainable["discriminator"].module

    return begin


def copy(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_the_discriminator_starts_at_its_step(begin):
    run, batches, discriminator = begin("run", loss=LossConfig(adversarial=0.5, adversarial_start=2))
    fresh = copy(discriminator)
    for _ in range(2):
        values = run.take_step(batches)
        assert "adversarial" not in values
        assert all(torch.equal(tensor, fresh[name]) for name, tensor in copy(discriminator).items())
    values = run.take_step(batches)
    assert {"adversarial", "adversarial_weight", "discriminator_loss", "discriminator_real"} <= values.keys()
    assert not any(torch.equal(tensor, fresh[name]) for name, tensor in copy(discriminator).items())


def test_until_then_the_vae_trains_as_without_it(configure):
    losses = []
    for name, adversarial in (("without", 0.0), ("with", 0.5)):
        config = configure(name, loss=LossConfig(adversarial=adversarial, adversarial_start=3))
        train_vae(config)
        losses.append([json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()])
    assert losses[0][:4] == losses[1][:4]  # the fourth is computed before its step is taken
    assert len(losses[0]) == 5
    assert losses[0][4] != losses[1][4]


def test_the_verdict_reaches_the_vae_alone(begin, configure):
    run, batches, discriminator = begin("run", loss=LossConfig(adversarial=0.5, adversarial_start=0))
    plain, _ = prepare_task(configure("plain"))
    shard, batch = next(batches)
    found = run.task.compute("vae", batch, shard, 0)
    expected = plain.compute("vae", batch, shard, 0)
    # The value is that of the reconstruction, the gradient is not.
    torch.testing.assert_close(found["loss"], expected["loss"])
    for loss in (found["loss"], expected["loss"]):
        loss.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    pulled, alone = (task.trainable["vae"].module.vae.decoder.conv_out.weight.grad for task in (run.task, plain))
    # The pull on the last layer is half as strong as that of the reconstruction.
    ratio = (pulled - alone).norm() / alone.norm()
    assert float(ratio) == pytest.approx(0.5, rel=0.01)


def test_the_discriminator_learns_from_what_the_vae_made(begin):
    run, batches, discriminator = begin("run", loss=LossConfig(adversarial=0.5, adversarial_start=0))
    shard, batch = next(batches)
    run.task.compute("vae", batch, shard, 0)
    found = run.task.compute("discriminator", batch, shard, 0)
    found["loss"].backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    assert all(parameter.grad is None for parameter in run.task.trainable["vae"].parameters)
    # A fresh discriminator cannot tell: hinge losses of 1 each.
    assert float(found["loss"].detach()) == pytest.approx(2.0, abs=0.2)


def test_sharded_weights_are_refused(configure, monkeypatch):
    PartialState()
    task, _ = prepare_task(configure("run", loss=LossConfig(adversarial=0.5)))
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.FSDP)
    with pytest.raises(RequestError, match="sharded weights"):
        task.move(torch.device("cpu"))


def test_defaults_are_those_of_the_original():
    optimizer = DiscriminatorConfig().optimizer
    assert (optimizer.learning_rate, optimizer.betas, optimizer.weight_decay) == (1e-4, (0.5, 0.9), 0.0)
    assert optimizer.schedule == "constant"
