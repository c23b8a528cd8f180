"""What a trainer's command prints and leaves: the result once, how to go on, nothing of a run that did not begin."""

import signal
import subprocess
import sys

import accelerate.commands.launch
import pytest
from easyanimate_core import RequestError
from easyanimate_core.errors import MediaError
from easyanimate_train import launcher
from easyanimate_train.command import run_training
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure


@pytest.fixture
def run(configure, make_task):
    """Runs the command with a task that stops before a step."""

    def start(*, stop_at=None, error=KeyboardInterrupt, resume=False, plan=False, launching=None, **changes):
        config = configure(**changes)

        def prepare(settings):
            task, dataset = make_task(settings)
            compute = task.compute

            def stop(name, batch, shard, step):
                if step == stop_at:
                    raise error
                return compute(name, batch, shard, step)

            task.compute = stop
            return task, dataset

        run_training(config, prepare, resume=resume, plan=plan, launching=launching, use="ea run --lora o")
        return config

    return start


def test_the_result_is_printed_once_and_how_it_is_used(run, capsys):
    config = run()
    out, err = capsys.readouterr()
    assert out == f"{config.out / 'weights'}\n"
    assert "To use it: ea run --lora o" in err
    assert sorted(path.name for path in config.out.iterdir()) == ["checkpoints", "loss.jsonl", "train.json", "weights"]


def test_a_process_beside_the_first_prints_no_result(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "run").mkdir()
    run()
    out, err = capsys.readouterr()
    assert out == ""
    assert "To use it" not in err


@pytest.mark.parametrize(("stop_at", "where"), [(2, "from its beginning"), (5, "from step 3")])
def test_ctrl_c_names_the_command_that_goes_on(run, capsys, monkeypatch, stop_at, where):
    monkeypatch.setattr(sys, "argv", ["ea", "train", "lora", "--out", "my run"])
    with pytest.raises(KeyboardInterrupt):
        run(stop_at=stop_at)
    assert f"To go on {where}: ea train lora --out 'my run' --resume\n" in capsys.readouterr().err
    config = run(resume=True)
    assert (config.out / "weights").is_dir()


def test_what_stops_before_the_first_step_leaves_nothing_and_says_nothing_of_going_on(run, capsys, tmp_path):
    for error in (KeyboardInterrupt, RequestError("no data")):
        with pytest.raises((KeyboardInterrupt, RequestError)):
            run(stop_at=0, error=error)
        assert "To go on" not in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


def test_the_folder_is_checked_before_anything_is_loaded(configure):
    config = configure()
    config.out.write_text("a file")

    def prepare(_):
        pytest.fail("something was loaded")

    with pytest.raises(MediaError, match="a file, not a folder"):
        run_training(config, prepare, resume=False, plan=False, launching=None, use="")
    with pytest.raises(RequestError, match="no run to resume"):
        run_training(configure("other"), prepare, resume=True, plan=False, launching=None, use="")


def test_every_step_is_reported(configure, make_task):
    from easyanimate_train.loop import train

    config, seen = configure(log_every=3), []
    task, dataset = make_task(config)
    train(task, config, dataset, on_progress=lambda progress, values: seen.append((progress.step, "loss" in values)))
    assert seen == [(1, False), (2, False), *[(step, True) for step in range(3, 9)]]


def test_a_plan_prints_and_writes_nothing(run, capsys, tmp_path):
    run(plan=True)
    assert "seconds per step" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_is_launched_says_how_it_goes_on_once(run, capsys):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop_at=5)
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        run(launching=stop)
    assert capsys.readouterr().err.count("To go on from step 3") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (KeyboardInterrupt(), 130),
        (SignalException("stopped", signal.SIGINT), 130),
        (subprocess.CalledProcessError(2, "train"), 2),
        (subprocess.CalledProcessError(-signal.SIGINT, "train"), 130),
        (SystemExit(3), 3),
        (ChildFailedError("train", {1: ProcessFailure(1, 2, 2, "none")}), 2),
    ],
    ids=repr,
)
def test_the_launcher_ends_with_the_code_of_what_it_launched(monkeypatch, capsys, error, code):
    def launch(_):
        if error is not None:
            raise error

    monkeypatch.setattr(accelerate.commands.launch, "launch_command", launch)
    monkeypatch.setattr(sys, "argv", ["launcher", "train.py"])
    assert launcher.main() == code
    assert capsys.readouterr().err == ""
