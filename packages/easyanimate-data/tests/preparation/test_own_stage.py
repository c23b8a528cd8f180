"""A stage of a plugin is one like any other: it runs with every engine, is killed and goes on, keeps its settings."""

import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points

import pytest
from easyanimate_core import MediaError, RequestError
from easyanimate_data.preparation.table import read_table

TABLE = "clips.parquet"
WORDS = ["--set", "split.min_pixels=0", "--stages", "split,light,list-levels", "--resume"]


@pytest.fixture(autouse=True)
def installed(fake_work, tmp_path, monkeypatch):
    """The plugin, as pip would install it, in this process and in those that it starts."""
    info = tmp_path / "site" / "easyanimate_fake_stage-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: easyanimate-fake-stage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[easyanimate]\nfake = easyanimate_fake_stage\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = fake_work.__file__.rpartition("easyanimate_fake_work")[0]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{':' if sys.platform != 'win32' else ';'}{folder}")
    assert [entry for entry in entry_points(group="easyanimate") if entry.value == "easyanimate_fake_stage"]
    yield
    sys.modules.pop("easyanimate_fake_stage", None)


@pytest.fixture
def copy_split(undisturbed, tmp_path):
    """Copies of a data set whose videos are split already."""
    return lambda name: shutil.copytree(undisturbed, tmp_path / name)


@pytest.fixture
def undisturbed_levels(run_ea, raw, copy_split):
    out = copy_split("undisturbed")
    run_ea("prepare", raw, "--out", out, *WORDS)
    return out


def test_it_fills_its_column_and_writes_its_file(run_ea, undisturbed_levels, raw, capsys):
    table = read_table(undisturbed_levels / TABLE)
    kept = [table.column("light")[index] for index in table.find_kept()]
    assert kept
    assert all(level.startswith("level ") for level in kept)
    assert (undisturbed_levels / "levels.txt").read_text(encoding="utf-8").splitlines() == kept
    (failed,) = [row for row in table if row["error"] and row["file_path"]]
    assert failed["error"] == "light: This clip cannot be measured. a test"
    assert failed["reason"] == "error in light"
    noted = json.loads((undisturbed_levels / "prepare.json").read_text())
    assert noted["stages"]["light"] == {"levels": 10, "seconds": 0.0}
    assert "list-levels" not in noted["stages"]
    run_ea("prepare", raw, "--out", undisturbed_levels, *WORDS)
    assert capsys.readouterr().out.strip() == str(undisturbed_levels / "levels.txt")


def test_it_drops_clips_and_the_report_says_which_stage_did(run_ea, undisturbed_levels, raw):
    level, *others = sorted({level for level in read_table(undisturbed_levels / TABLE).column("light") if level})
    assert others
    words = ["--set", "split.min_pixels=0", "--stages", "split,light,only-levels", "--resume"]
    run_ea("prepare", raw, "--out", undisturbed_levels, *words, "--set", f"only_levels.levels={json.dumps(others)}")
    reasons = [row["reason"] for row in read_table(undisturbed_levels / TABLE) if row["light"] == level]
    assert set(reasons) == {"wrong light"}
    run_ea("report", undisturbed_levels)
    page = (undisturbed_levels / "report.html").read_text(encoding="utf-8")
    assert "wrong light" in page
    assert "other rules" not in page
    with pytest.raises(MediaError, match="After the stage only-levels no clip is left"):
        run_ea("filter", undisturbed_levels, "--filters", "only-levels", "--set", "only_levels.levels=[none]")


def test_worker_processes_give_the_same(run_ea, undisturbed_levels, raw, copy_split):
    out = copy_split("out")
    run_ea("prepare", raw, "--out", out, *WORDS, "--engine", "processes", "--workers", "2")
    assert (out / TABLE).read_bytes() == (undisturbed_levels / TABLE).read_bytes()


def test_killed_it_goes_on(run_ea, undisturbed_levels, raw, copy_split):
    out = copy_split("out")
    slow = ["--set", "light.seconds=0.3"]
    command = [sys.executable, run_ea.path, "prepare", raw, "--out", out, *WORDS, *slow]
    journal = out / "journal" / "light.jsonl"
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") >= 2):
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
    before = journal.read_bytes()
    assert not (out / "levels.txt").exists()
    run_ea("prepare", raw, "--out", out, *WORDS, *slow)
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])  # nothing was done twice
    assert (out / TABLE).read_bytes() == (undisturbed_levels / TABLE).read_bytes()
    assert (out / "levels.txt").read_bytes() == (undisturbed_levels / "levels.txt").read_bytes()


def test_other_settings_are_refused(run_ea, undisturbed_levels, raw):
    with pytest.raises(RequestError, match=r"levels: 10 then, 5 now[\s\S]*--replace"):
        run_ea("prepare", raw, "--out", undisturbed_levels, *WORDS, "--set", "light.levels=5")
    with pytest.raises(RequestError, match=r"Unknown setting light.level\.[\s\S]*did you mean levels"):
        run_ea("prepare", raw, "--out", undisturbed_levels, *WORDS, "--set", "light.level=5")


def test_it_is_listed_and_is_no_filter(run_ea, undisturbed_levels, capsys):
    run_ea("filters")
    assert "light           Names the light.\n" in capsys.readouterr().out
    with pytest.raises(RequestError, match="The stage light is no filter"):
        run_ea("score", undisturbed_levels, "--filters", "light")


def test_a_stage_that_is_gone_is_named(run_ea, undisturbed_levels, monkeypatch):
    run_ea("filter", undisturbed_levels, "--filters", "only-levels", "--set", 'only_levels.levels=["level 3"]')
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site" not in path or "site-packages" in path])
    with pytest.raises(Exception, match="There is no stage only-levels"):
        run_ea("filter", undisturbed_levels, "--filters", "duration")
