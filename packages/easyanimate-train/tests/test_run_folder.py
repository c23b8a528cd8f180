import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from easyanimate_core import RequestError
from easyanimate_core.errors import MediaError
from easyanimate_train.run_folder import RunFolder, claim_run


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
    folder = RunFolder(tmp_path / "run", Config(), resume=False)
    folder.note_start()
    return folder


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
    assert sorted(path.name for path in run.path.iterdir()) == ["train.json", "weights"]


def test_the_log_is_cut_where_a_run_goes_on(run):
    for step in range(1, 6):
        run.log(step=step, loss=1 / step)
    with (run.path / "loss.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while it wrote
    run.cut_log(3)
    lines = [json.loads(line) for line in (run.path / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]


def test_a_run_is_not_overwritten(run):
    run.save(5, write("five"))
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


def test_a_run_goes_on_where_settings_were_added_since(run):
    run.save(5, write("five"))
    kept = run.path / "train.json"
    before = json.loads(kept.read_text())
    kept.write_text(json.dumps({name: value for name, value in before.items() if name != "width"}))
    assert RunFolder(run.path, Config(), resume=True).newest[0] == 5
    with pytest.raises(RequestError, match="width: None -> 16"):
        RunFolder(run.path, Config(width=16), resume=True)


def test_a_start_that_left_no_checkpoint_does_not_block_its_folder(run):
    RunFolder(run.path, Config(width=16), resume=False).note_start()
    assert json.loads((run.path / "train.json").read_text())["width"] == 16
    assert RunFolder(run.path, Config(width=8), resume=True).newest is None


@dataclass(frozen=True)
class Places:
    out: Path
    data: Path | None = None
    weights: str = "demo"
    width: int = 8


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    (folder / "list.json").write_text("[1]")
    (folder / "deep" / "0.mp4").write_bytes(bytes(200_000))
    return folder


@pytest.fixture
def go_on(tmp_path, clips):
    """Resumes a run of the clips with other settings."""
    out = tmp_path / "run"
    first = RunFolder(out, Places(out, clips, str(clips)), resume=False)
    first.note_start()
    first.save(1, write("one"))
    return lambda **changes: RunFolder(
        out, Places(**{"out": out, "data": clips, "weights": str(clips)} | changes), resume=True
    )


def test_a_path_may_be_written_in_other_ways(go_on, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "link").symlink_to(clips, target_is_directory=True)
    for text in (
        "clips",
        "clips/",
        "./clips",
        "clips/deep/..",
        "link",
        "~/clips",
        str(clips),
        "../" + tmp_path.name + "/clips",
    ):
        assert go_on(data=Path(text), weights=text).newest[0] == 1


def test_what_moved_is_the_same_and_what_differs_is_not(go_on, clips, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(clips, other)
    assert go_on(data=other, weights=str(other)).newest[0] == 1
    with (other / "deep" / "0.mp4").open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"other")
    with pytest.raises(RequestError, match=r"data: .*clips -> .*other \(with other files\)"):
        go_on(data=other)
    with pytest.raises(RequestError, match="weights"):
        go_on(weights="official")
    with pytest.raises(RequestError, match="data"):
        go_on(data=tmp_path / "nothing")


def test_the_same_words_in_another_folder_mean_something_else(go_on, tmp_path, monkeypatch):
    (tmp_path / "elsewhere" / "clips").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert go_on(data=Path("clips")).newest[0] == 1
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="data"):
        go_on(data=Path("clips"))


def test_two_runs_do_not_share_a_folder(tmp_path):
    config = Places(tmp_path / "run")
    with claim_run(config, resume=False):
        run = RunFolder(config.out, config, resume=False)
        run.note_start()
        with claim_run(config, resume=False):  # the loop, within the command
            pass
    code = (
        "import sys; from pathlib import Path\n"
        "from easyanimate_core.folder_lock import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])):\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 (own command)
        [sys.executable, "-c", code, config.out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        before = sorted(path.name for path in config.out.iterdir())
        with pytest.raises(MediaError, match="Another run is at work"), claim_run(config, resume=True):
            pytest.fail("it began")
        assert sorted(path.name for path in config.out.iterdir()) == before
        other.stdin.close()


@pytest.mark.parametrize("failure", [RequestError("no"), KeyboardInterrupt()])
def test_a_run_that_fails_before_its_first_step_leaves_nothing(tmp_path, failure):
    config = Places(tmp_path / "deep" / "run")
    with pytest.raises(type(failure)), claim_run(config, resume=False):  # noqa: PT012 (what it left before)
        (config.out / "tracker").mkdir()
        (config.out / "cache").mkdir()
        (config.out / "cache" / "entry").write_text("half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_leaves_the_folder_as_it_was(run):
    run.save(5, write("five"))
    before = sorted(path.name for path in run.path.rglob("*"))
    with pytest.raises(RequestError, match="already holds a run"), claim_run(Places(run.path), resume=False):
        pytest.fail("it began")
    assert sorted(path.name for path in run.path.rglob("*")) == before
    with pytest.raises(RequestError, match="no run to resume"), claim_run(Places(run.path / "none"), resume=True):
        pytest.fail("it began")
    assert not (run.path / "none").exists()
    with (
        pytest.raises(MediaError, match="a file, not a folder"),
        claim_run(Places(run.path / "train.json"), resume=False),
    ):
        pytest.fail("it began")


def test_what_a_killed_run_left_half_written_goes(run):
    run.save(5, write("five"))
    for name in ("checkpoints/.step-00000010.part", "checkpoints/step-00000007.tmp", ".weights.part"):
        (run.path / name).mkdir()
    with claim_run(Placed(out=run.path), resume=True):
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "checkpoints", "train.json"]
        assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-00000005"]


@dataclass(frozen=True)
class Placed(Config):
    out: Path = Path()
