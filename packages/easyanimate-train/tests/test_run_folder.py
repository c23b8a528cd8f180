import json
from dataclasses import dataclass

import pytest
from easyanimate_core import RequestError
from easyanimate_train.run_folder import RunFolder


@dataclass(frozen=True)
class Config:
    width: int = 8
    max_steps: int = 100


def write(text):
    return lambda folder: (folder / "w.bin").write_text(text)


def content(folder):
    return (folder / "w.bin").read_text()


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run", Config(), resume=False)


def test_the_newest_checkpoints_stay(run):
    assert run.newest is None
    for step in (5, 10, 1000):
        run.save(step, write(str(step)))
    step, folder = run.newest
    assert (step, content(folder)) == (1000, "1000")
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step-00000010", "step-00001000"]


def test_a_failed_save_leaves_the_older_one(run):
    run.save(5, write("good"))

    def fail(folder):
        (folder / "w.bin").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.save(10, fail)
    assert run.newest[0] == 5
    assert content(run.newest[1]) == "good"
    run.save(10, write("again"))
    assert content(run.newest[1]) == "again"


def test_the_final_weights_replace_those_before(run):
    assert content(run.save_final(write("first"))) == "first"
    folder = run.save_final(write("second"))
    assert content(folder) == "second"
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "train.json", "weights"]


def test_the_log_is_cut_where_a_run_goes_on(run):
    for step in range(1, 6):
        run.log(step=step, loss=1 / step)
    with (run.path / "loss.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while it wrote
    run.cut_log(3)
    lines = [json.loads(line) for line in (run.path / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]


def test_a_run_is_not_overwritten(run):
    with pytest.raises(RequestError, match="--resume"):
        RunFolder(run.path, Config(), resume=False)


def test_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(RequestError, match="no run to resume"):
        RunFolder(tmp_path / "none", Config(), resume=True)


def test_a_run_goes_on_with_its_settings_only(run):
    run.save(5, write("five"))
    assert RunFolder(run.path, Config(max_steps=200), resume=True).newest[0] == 5
    with pytest.raises(RequestError, match="width: 8 -> 16"):
        RunFolder(run.path, Config(width=16), resume=True)
