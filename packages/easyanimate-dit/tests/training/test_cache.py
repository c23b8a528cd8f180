"""The cache of encoded clips and captions: it changes nothing, and keeps nothing that is wrong."""

from dataclasses import replace

import pytest
from easyanimate_core import RequestError
from easyanimate_dit.training.config import TaskConfig
from easyanimate_dit.training.sample import SampleEncoder, Samples
from easyanimate_train.config import DataConfig


def test_a_cache_changes_nothing_and_is_of_use(configure, train, read_losses, tmp_path, monkeypatch):
    # Of V3's blank clips, all that are encoded together have the noise of the first of them.
    task = TaskConfig(start_share=0.5, blank_share=0.0)
    fresh, kept, again = (
        configure("fresh", task=task),
        *(configure(name, task=task, cache=True, cache_folder=tmp_path / "cache") for name in ("kept", "again")),
    )
    train(fresh)
    train(kept)

    def refuse(*_):
        raise AssertionError("everything was encoded before")

    monkeypatch.setattr(SampleEncoder, "encode", refuse)
    train(again)
    assert read_losses(again) == read_losses(kept)
    # Fewer clips are encoded at a time, which shows in the last digits.
    assert read_losses(kept) == pytest.approx(read_losses(fresh), abs=1e-5)


def test_a_damaged_cache_is_filled_again(configure, train, read_losses, tmp_path):
    configs = [configure(name, cache=True, cache_folder=tmp_path / "cache") for name in ("first", "second")]
    for config in configs:
        train(config)
        for path in (tmp_path / "cache").rglob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:40])
    first, second = map(read_losses, configs)
    assert first == second


def test_what_differs_in_every_epoch_cannot_be_kept(configure, train, tmp_path):
    with pytest.raises(RequestError, match=r"data\.passes"):
        train(configure(cache=True, cache_folder=tmp_path / "cache", data=DataConfig(batches=((2, 8),))))


def test_a_clip_that_stands_in_for_another_is_not_kept(configure, prepare):
    task, shard, batch = prepare(configure(cache=True, data=DataConfig(batches=((2, 8),), passes=1)))
    row = task.load._dataset.plan(0)[0]
    replaced = batch | {"text": ["another", "clip"], "bad": ["0.mp4 cannot be read"]}
    losses = [task.compute("transformer", which, shard, 0)["loss"].item() for which in (replaced, batch)]
    assert losses[0] != losses[1]
    found = task.load(row, shard)
    assert isinstance(found, Samples)
    assert found.captions == batch["text"]
    assert task.compute("transformer", found, shard, 0)["loss"].item() == losses[1]


def test_nothing_is_kept_while_a_clip_is_replaced(configure, prepare):
    task, shard, batch = prepare(configure(cache=True, data=DataConfig(batches=((2, 8),), passes=1)))
    task.compute("transformer", batch | {"bad": ["0.mp4 cannot be read"]}, shard, 0)
    row = task.load._dataset.plan(0)[0]
    assert not isinstance(task.load(row, shard), Samples)


def test_other_weights_and_settings_have_entries_of_their_own(configure, prepare, build):
    settings = {"cache": True, "data": DataConfig(batches=((2, 8),), passes=1)}
    config = configure(**settings)
    task, shard, batch = prepare(config)
    task.compute("transformer", batch, shard, 0)
    changed = build()
    changed.vae.encoder.weight.data.mul_(1.001)
    other_task = replace(config, task=replace(config.task, start_share=1.0))
    assert isinstance(prepare(config)[2], Samples)
    assert not isinstance(prepare(config, changed)[2], Samples)
    assert not isinstance(prepare(other_task)[2], Samples)
