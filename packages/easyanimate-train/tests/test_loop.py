"""The loop: a run that stopped goes on as if it had not, and bad ends are told."""

import errno
import json

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_core.errors import MediaError, WeightsError
from easyanimate_train import loop, run_folder
from easyanimate_train.config import OptimizerConfig, RunConfig
from easyanimate_train.loop import TrainingRun, train
from easyanimate_train.plan import measure
from safetensors.torch import load_file


def read_log(config):
    return [json.loads(line) for line in (config.out / "loss.jsonl").read_text().splitlines()]


def read_weights(config):
    return load_file(config.out / "weights" / "line.safetensors")


def stop_at(step):
    def stop(progress, _):
        if progress.step == step:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_decay": 0.9, "accumulate": 3},
        {"mixed_precision": "bf16"},
        {"optimizer": OptimizerConfig(learning_rate=0.05, schedule="cosine", abnormal_after=2, first_norm_ratio=5.0)},
    ],
    ids=["plain", "averaged", "bf16", "abnormal"],
)
@pytest.mark.parametrize("second", [False, True])
def test_a_run_that_stopped_goes_on_as_if_it_had_not(configure, make_task, changes, second):
    whole, stopped = configure("whole", **changes), configure("stopped", **changes)
    train(*swap(make_task(whole, second=second), whole))
    for end in (2, 5, 7):  # before a checkpoint, after one, after two
        with pytest.raises(KeyboardInterrupt):
            train(
                *swap(make_task(stopped, second=second), stopped),
                resume=stopped.out.exists(),
                on_progress=stop_at(end),
            )
    train(*swap(make_task(stopped, second=second), stopped), resume=True)
    assert read_log(stopped) == read_log(whole)
    assert len(read_log(whole)) == 8
    expected = read_weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in read_weights(stopped).items())


def swap(made, config):
    task, dataset = made
    return task, config, dataset


def test_workers_change_nothing(configure, make_task):
    plain = configure("plain")
    ahead = configure("ahead", data=type(plain.data)(**(vars(plain.data) | {"workers": 2})))
    for config in (plain, ahead):
        train(*swap(make_task(config), config))
    assert read_log(plain) == read_log(ahead)


def test_accumulated_batches_are_one_step(configure, make_task):
    config = configure(accumulate=2, max_steps=1)
    task, dataset = make_task(config)
    module = task.trainable["first"].module
    run = TrainingRun(task, config, dataset)
    batches = iter(run.stream)
    seen = []
    before = [parameter.clone() for parameter in module.parameters()]
    original = task.compute

    def compute(name, batch, shard, step):
        seen.append(shard.index)
        found = original(name, batch, shard, step)
        assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
        return found

    task.compute = compute
    run.take_step(batches)
    assert seen == [0, 1]
    assert not all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_the_averaged_weights_are_kept_and_training_goes_on_with_the_last(configure, make_task):
    plain, averaged = configure("plain"), configure("averaged", ema_decay=0.9)
    for config in (plain, averaged):
        train(*swap(make_task(config), config))
    assert read_log(plain) == read_log(averaged)
    assert not torch.equal(read_weights(plain)["0.weight"], read_weights(averaged)["0.weight"])


def test_nan_names_the_last_good_checkpoint_and_saves_no_bad_one(configure, make_task):
    config = configure(log_every=100, checkpoint_every=2)
    with pytest.raises(RequestError, match="not finite") as caught:
        train(*swap(make_task(config, broken_at=4), config))
    assert "step-00000004" in caught.value.fix
    assert sorted(path.name for path in (config.out / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]


def test_a_diverging_loss_stops_the_run(configure, make_task):
    config = configure(max_steps=200, optimizer=OptimizerConfig(learning_rate=0.0))
    with pytest.raises(RequestError, match="diverges"):
        train(*swap(make_task(config, grow=2.0), config))


def test_a_full_disk_leaves_the_older_checkpoint(configure, make_task):
    config = configure()
    task, dataset = make_task(config)
    write = task.write

    def fail(state, folder):
        if "00000006" in folder.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(state, folder)

    task.write = fail
    with pytest.raises(MediaError, match="cannot be written") as caught:
        train(task, config, dataset)
    assert "step-00000003" in caught.value.fix
    assert [path.name for path in (config.out / "checkpoints").iterdir()] == ["step-00000003"]
    task, dataset = make_task(config)
    train(task, config, dataset, resume=True)
    assert len(read_log(config)) == 8


def test_too_little_memory_says_what_saves_some(configure, make_task):
    config = configure()
    task, dataset = make_task(config)

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    task.compute = fail
    with pytest.raises(RequestError, match="Not enough memory") as caught:
        train(task, config, dataset)
    assert "--smaller saves 3 GB" in caught.value.fix


def test_a_changed_setting_is_listed_by_its_whole_name(configure, make_task):
    config = configure(max_steps=3)
    train(*swap(make_task(config), config))
    other = configure(max_steps=6, optimizer=OptimizerConfig(learning_rate=0.1, warmup_steps=2))
    with pytest.raises(RequestError, match=r"optimizer\.learning_rate: 0\.05 -> 0\.1"):
        train(*swap(make_task(other), other), resume=True)


def test_a_damaged_checkpoint_is_told(configure, make_task):
    config = configure(max_steps=3)
    train(*swap(make_task(config), config))
    state = config.out / "checkpoints" / "step-00000003" / "state" / "first.safetensors"
    state.write_bytes(state.read_bytes()[:-8])
    longer = configure(max_steps=6)
    with pytest.raises(WeightsError, match="is damaged"):
        train(*swap(make_task(longer), longer), resume=True)


def test_validation_sees_the_averaged_weights_and_disturbs_nothing(configure, make_task):
    quiet, watched = configure("quiet", ema_decay=0.9), configure("watched", ema_decay=0.9, validate_every=3)
    for config in (quiet, watched):
        task, dataset = make_task(config)
        found = []
        validate = task.validate

        def look(folder, step, validate=validate, found=found):
            torch.rand(3)
            found.append(validate(folder, step).values)
            return validate(folder, step)

        task.validate = look
        train(task, config, dataset)
    assert [values["step"] for values in found] == [3, 6, 8]
    assert read_log(quiet) == read_log(watched)


def test_old_checkpoints_go_away(configure, make_task):
    config = configure(checkpoint_every=1, keep_checkpoints=3)
    train(*swap(make_task(config), config))
    assert [path.name[-1] for path in sorted((config.out / "checkpoints").iterdir())] == ["6", "7", "8"]


def test_a_plan_measures_and_writes_nothing(configure, make_task):
    config = configure()
    task, dataset = make_task(config)
    rows = dict(measure(task, config, dataset))
    assert rows["steps"] == "8"
    assert rows["trainable parameters"] == "65"
    assert rows["batch 1"] == "3 clips"
    assert float(rows["seconds per step"]) >= 0
    assert not config.out.exists()


def test_tensorboard_is_written_and_goes_on(configure, make_task):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = configure(tracker="tensorboard", checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        train(*swap(make_task(config), config), on_progress=stop_at(5))
    train(*swap(make_task(config), config), resume=True)
    events = accumulator.EventAccumulator(str(config.out / "tracker")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))


def test_what_a_resumed_run_may_change_exists():
    names = {setting.partition(".")[0] for setting in run_folder.CHANGEABLE}
    assert names <= RunConfig.__dataclass_fields__.keys()


def test_logged_values_are_means_over_the_accumulated_batches(configure, make_task, monkeypatch):
    still = OptimizerConfig(learning_rate=0.0)
    single = configure("single", optimizer=still, max_steps=6)
    together = configure("together", optimizer=still, max_steps=2, accumulate=3)
    train(*swap(make_task(single), single))
    norms = []

    def clip(*arguments, clip=loop.clip_gradients):
        norms.append(float(clip(*arguments)))
        return torch.tensor(norms[-1])

    monkeypatch.setattr(loop, "clip_gradients", clip)
    train(*swap(make_task(together), together))
    parts, whole = read_log(single), read_log(together)
    for step, line in enumerate(whole):
        for name in ("loss", "bias"):
            mean = sum(part[name] for part in parts[3 * step : 3 * step + 3]) / 3
            assert line[name] == pytest.approx(mean, rel=1e-5)
    assert [line["grad_norm"] for line in whole] == pytest.approx(norms)
