"""Denoising as a training task: what a step sees, and that a stopped run ends as if it had not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from easyanimate_dit.training.config import TaskConfig
from easyanimate_train.config import DataConfig
from safetensors.torch import load_file

TASK = TaskConfig(start_share=0.5, ends_share=0.25)


def read_weights(weights):
    return load_file(weights / "transformer" / "diffusion_pytorch_model.safetensors")


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, train, read_losses, stop_at, build):
    whole, stopped = (configure(name, task=TASK, ema_decay=0.9) for name in ("whole", "stopped"))
    expected = read_weights(train(whole))
    with pytest.raises(KeyboardInterrupt):
        train(stopped, on_progress=stop_at(3))
    found = read_weights(train(stopped, resume=True))
    assert read_losses(stopped) == read_losses(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    before = build().transformer.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in found.items())


def test_training_lowers_the_loss_on_what_it_sees(configure, train, read_losses):
    config = configure(max_steps=30, data=DataConfig(batches=((4, 8),)), timesteps="uniform")
    train(config)
    losses = read_losses(config)
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_fresh_weights_come_from_the_seed(configure, prepare, build):
    drawn = {seed: prepare(configure(fresh=True, seed=seed))[0] for seed in (0, 0, 1)}
    weights = {seed: task.trainable["transformer"].module.state_dict() for seed, task in drawn.items()}
    again = prepare(configure(fresh=True))[0].trainable["transformer"].module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights[0].items())
    for other in (weights[1], build().transformer.state_dict()):
        assert any(not torch.equal(tensor, other[name]) for name, tensor in again.items())


def test_processes_share_what_a_step_draws(configure, compute_loss):
    # Of V3's blank clips, all that a process has are encoded with the noise of its first row.
    task = TaskConfig(start_share=0.5, blank_share=0.0)
    config = configure(data=DataConfig(batches=((4, 8),), passes=1), task=task, noise_offset=0.3)
    whole = compute_loss(config)
    halves = [compute_loss(config, rank=rank, num_ranks=2) for rank in (0, 1)]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-5)


def test_dropped_captions_are_empty_ones(configure, prepare, compute_loss):
    config = configure(data=DataConfig(batches=((3, 8),), passes=1))
    clips = prepare(config)[0].load._dataset._dataset
    dropped = replace(config, data=replace(config.data, empty_text_share=1.0))
    empty = compute_loss(config, clips=replace(clips, captions=("",) * len(clips)))
    assert compute_loss(dropped) == empty
    assert compute_loss(config) != pytest.approx(empty, rel=1e-4)


def test_a_dropped_caption_leaves_the_others_of_its_batch(configure, prepare, monkeypatch):
    task, shard, batch = prepare(configure(data=DataConfig(batches=((3, 8),), passes=1)))
    descriptions = [replace(row, empty_text=number == 1) for number, row in enumerate(shard.descriptions)]
    seen = []
    encode = task._captions.encode
    monkeypatch.setattr(task._captions, "encode", lambda texts: seen.append(texts) or encode(texts))
    task.compute("transformer", batch, replace(shard, descriptions=tuple(descriptions)), 0)
    first, _, last = batch["text"]
    assert seen == [[first, "", last]]


def test_offset_noise_adds_one_value_per_channel(configure, prepare, compute_loss):
    plain, offset = configure(), configure(noise_offset=0.5)
    drawn = []
    for config in (plain, offset):
        task, shard, batch = prepare(config)
        samples = task._encoder.encode(batch, shard.descriptions, torch.device("cpu"))
        drawn.append(task._draw(samples, shard))
    (latents, noise, timesteps), (same_latents, offset_noise, same_timesteps) = drawn
    assert torch.equal(latents, same_latents)
    assert torch.equal(timesteps, same_timesteps)
    added = offset_noise - noise
    torch.testing.assert_close(added, added[:, :, :1, :1, :1].expand_as(added))
    values = added[:, :, 0, 0, 0]
    assert len(values.unique()) == values.numel()
    assert 0.1 < values.std() < 1.0
    assert compute_loss(offset) != pytest.approx(compute_loss(plain), rel=1e-3)


def test_low_vram_leaves_no_frozen_model_on_the_device(configure, prepare, build):
    device, cpu = torch.device("cpu:0"), torch.device("cpu")  # two names of one place
    assert device != cpu
    pipeline = build()
    task, shard, batch = prepare(configure(low_vram=True), pipeline)
    where, working = {}, {}
    for name, module in task.frozen.items():
        module.to = lambda target, name=name: where.update({name: target})
        method = "encode" if name == "vae" else "forward"
        work = getattr(module, method)

        def watch(*arguments, name=name, work=work, **options):
            working[name] = dict(where)
            return work(*arguments, **options)

        setattr(module, method, watch)
    task.move(device)
    task.compute("transformer", batch, shard, 0)
    assert "vae" in working
    assert "text_encoder" in working
    assert all(places[name] == device for name, places in working.items())
    assert working["text_encoder"]["vae"] == cpu
    assert set(where.values()) == {cpu}
    assert where.keys() == task.frozen.keys()


def test_advice_names_what_is_not_used_yet(configure, prepare):
    task, *_ = prepare(configure(ema_decay=0.9, mixed_precision="bf16"))
    advice = "\n".join(task.advise())
    assert "--gradient-checkpointing" in advice
    assert "--low-vram" in advice
    assert "--mixed-precision" not in advice


def test_a_batch_is_described_alike_before_and_after_it_is_encoded(configure, prepare):
    task, shard, batch = prepare(configure())
    samples = task._encoder.encode(batch, shard.descriptions, torch.device("cpu"))
    assert task.describe(batch) == task.describe(samples) == "2 clips of 8 frames, 32x32, latents of 2 frames, 4x4"
