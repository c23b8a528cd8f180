"""`ea data prepare`: what it makes of raw videos, and that it makes the same however it is disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from unittest.mock import Mock

import numpy as np
import pytest
from easyanimate_core import MediaError, RequestError
from easyanimate_core.video import read_video
from easyanimate_data.preparation.folder import clear
from easyanimate_data.preparation.table import read_table, write_table

CUT = 'sub folder/it\'s "cut" 视频.mp4'
TABLE, LIST = "clips.parquet", "json_of_internal_datasets.json"


def read_clips(dataset):
    files = [path for path in sorted(dataset.rglob("*.mp4")) if path.is_file()]
    return {path.relative_to(dataset).as_posix(): path.read_bytes() for path in files}


def by_source(dataset):
    rows = {}
    for row in read_table(dataset / TABLE):
        rows.setdefault(row["source"], []).append(row)
    return rows


class TestUndisturbed:
    def test_every_source_has_rows_in_natural_order(self, undisturbed):
        rows = by_source(undisturbed)
        names = ["again", "broken", "empty", "n2", "n10", "short", "still"]
        assert [source.split(".")[0] for source in rows][:7] == names
        assert CUT in rows
        assert "notes.txt" not in rows

    def test_scenes_became_clips(self, undisturbed):
        names = [row["file_path"].rpartition("/")[2] for row in by_source(undisturbed)[CUT]]
        assert names == [f'it\'s "cut" 视频_{name}.mp4' for name in ("0", "2_0")]
        first, last = by_source(undisturbed)[CUT]
        assert (first["start"], first["end"]) == (0.0, 3.5)
        assert (last["start"], last["end"]) == (6.0, 16.0)
        for row in (first, last):
            frames = read_video(undisturbed / row["file_path"]).frames
            assert row["num_frames"] == len(frames) == round(10 * (row["end"] - row["start"]))
            assert (row["height"], row["width"]) == frames.shape[1:3]

    def test_a_broken_file_costs_a_row(self, undisturbed):
        rows = by_source(undisturbed)
        for source in ("broken.mp4", "empty.mov"):
            (row,) = rows[source]
            assert row["error"].startswith("split: The file cannot be read")
            assert row["reason"] == "error in split"
            assert row["file_path"] is None

    def test_each_dropped_clip_has_a_reason(self, undisturbed):
        rows = by_source(undisturbed)
        assert rows["short.mp4"][0]["reason"] == "no scene of 3 s"
        assert rows["still.mp4"][0]["reason"] == "motion_score < 0.05"
        assert rows["uncut.mp4"][0]["reason"] == "looks like another clip"
        assert rows["uncut.mp4"][0]["duplicate_of"] == rows["again.mp4"][0]["file_path"]

    def test_the_list_is_that_of_the_original(self, undisturbed):
        rows = json.loads((undisturbed / LIST).read_text(encoding="utf-8"))
        kept = [row["file_path"] for row in read_table(undisturbed / TABLE) if row["file_path"] and not row["reason"]]
        assert [row["file_path"] for row in rows] == kept
        assert all(row == {"file_path": row["file_path"], "text": "", "type": "video"} for row in rows)
        assert all((undisturbed / row["file_path"]).is_file() for row in rows)

    def test_what_is_noted_lets_a_run_of_an_earlier_release_go_on(self, undisturbed, raw):
        noted = json.loads((undisturbed / "prepare.json").read_text(encoding="utf-8"))
        split = {"threshold": 27.0, "min_scene_frames": 15, "min_seconds": 3.0, "max_seconds": 10.0, "min_pixels": 0}
        assert noted == {
            "input": str(raw),
            "stages": {
                "split": {"input": str(raw), **split, "compat": False},
                "motion": {"options": {}, "compat": False},
                "duplicates": {"options": {}, "compat": False},
            },
            "rules": {
                "motion": {"column": "motion_score", "minimum": 0.05, "maximum": None},
                "duplicates": {"distance": 12},
            },
        }
        assert list(noted["stages"]) == ["split", "motion", "duplicates"]

    def test_nothing_half_written_is_left(self, undisturbed):
        assert not [path for path in undisturbed.rglob("*") if ".part" in path.name]

    def test_raw_videos_are_not_touched(self, undisturbed, raw):
        assert undisturbed.is_dir()
        assert len([path for path in raw.rglob("*") if path.is_file()]) == 10


@pytest.mark.parametrize(
    "engine",
    [
        ["--engine", "processes", "--workers", "2"],
        pytest.param(
            ["--engine", "ray", "--workers", "2"], marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:::ray")]
        ),
    ],
    ids=lambda words: words[1],
)
def test_engines_make_equal_data_sets(run_ea, engine, raw, small, undisturbed, tmp_path):
    run_ea("prepare", raw, "--out", tmp_path / "out", *small, *engine)
    assert (tmp_path / "out" / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()
    assert read_clips(tmp_path / "out") == read_clips(undisturbed)


@pytest.mark.slow  # ten starts of the command
@pytest.mark.parametrize("engine", [["local"], ["processes", "--workers", "2"]], ids=lambda words: words[0])
def test_a_run_killed_at_ten_random_moments_ends_the_same(run_ea, engine, raw, small, undisturbed, tmp_path):
    out, random_moment = tmp_path / "out", np.random.default_rng(7)
    command = [sys.executable, run_ea.path, "prepare", raw, "--out", out, *small]
    command += ["--engine", *engine]

    def count_noted():
        return sum(path.read_bytes().count(b"\n") for path in out.glob("journal/*.jsonl"))

    def check():
        assert (out / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()
        assert read_clips(out) == read_clips(undisturbed)
        assert (out / LIST).read_bytes() == (undisturbed / LIST).read_bytes()
        assert not [path for path in out.rglob("*") if ".part" in path.name]
        for journal in out.glob("journal/*.jsonl"):
            keys = [json.loads(line)["key"] for line in journal.read_text(encoding="utf-8").splitlines()]
            assert len(keys) == len(set(keys)), journal  # nothing was done twice but what was under way

    kills = 0
    while kills < 10:
        before = count_noted()
        with subprocess.Popen(  # noqa: S603 (own code)
            [str(word) for word in [*command, *(["--resume"] if (out / "prepare.json").exists() else [])]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            # Every other time one more item is finished first, so that the kills are spread over all stages.
            while process.poll() is None and kills % 2 and count_noted() == before:
                time.sleep(0.005)
            deadline = time.monotonic() + random_moment.uniform(0, 0.3 if kills % 2 else 3)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            finished = process.poll() is not None
            process.kill()
        if finished:  # sooner than it was to be killed: the next kills are for another run
            assert process.returncode == 0
            check()
            shutil.rmtree(out)
            continue
        kills += 1
        for row in read_table(out / TABLE) if (out / TABLE).is_file() else ():
            assert row["file_path"] is None or (out / row["file_path"]).is_file()
    run_ea("prepare", raw, "--out", out, *small, *(["--resume"] if (out / "prepare.json").exists() else []))
    check()


class TestResume:
    @pytest.fixture
    def out(self, undisturbed, tmp_path):
        shutil.copytree(undisturbed, tmp_path / "out")
        return tmp_path / "out"

    def test_a_finished_run_does_nothing_again(self, run_ea, out, raw, small, undisturbed, monkeypatch):
        monkeypatch.setattr("easyanimate_data.preparation.work.Worker.__call__", None)
        run_ea("prepare", raw, "--out", out, *small, "--resume")
        assert (out / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()

    def test_new_videos_are_added(self, run_ea, out, raw, small, make_video, tmp_path):
        more = tmp_path / "raw"
        shutil.copytree(raw, more)
        settings = json.loads((out / "prepare.json").read_text())
        settings["input"] = settings["stages"]["split"]["input"] = str(more)
        (out / "prepare.json").write_text(json.dumps(settings))
        make_video(more / "n3.mp4", [4], seed=9)
        run_ea("prepare", more, "--out", out, *small, "--resume")
        assert by_source(out)["n3.mp4"][0]["motion_score"] > 0
        assert not by_source(out)["n3.mp4"][0]["reason"]

    def test_other_bounds_need_no_scores_anew(self, run_ea, out, raw, monkeypatch):
        monkeypatch.setattr("easyanimate_data.preparation.score.read_clip", None)  # every clip has its scores
        words = ["--set", "split.min_pixels=0", "--min", "motion=0", "--stages", "split,motion,export"]
        run_ea("prepare", raw, "--out", out, *words, "--resume")
        assert by_source(out)["still.mp4"][0]["reason"] is None
        assert by_source(out)["uncut.mp4"][0]["reason"] is None

    def test_what_is_refused_changes_nothing(self, run_ea, out, raw, small):
        before = [(out / name).read_bytes() for name in (TABLE, "prepare.json")]
        with pytest.raises(RequestError, match="other settings"):
            run_ea("prepare", raw, "--out", out, *small, "--set", "split.min_seconds=1", "--resume")
        with pytest.raises(MediaError, match="no such folder"):
            run_ea("prepare", raw / "nowhere", "--out", out, *small, "--resume")
        assert [(out / name).read_bytes() for name in (TABLE, "prepare.json")] == before

    def test_other_settings_are_refused(self, run_ea, out, raw, small):
        with pytest.raises(RequestError, match=r"min_seconds: 3.0 then, 1.0 now[\s\S]*--replace"):
            run_ea("prepare", raw, "--out", out, *small, "--set", "split.min_seconds=1", "--resume")

    def test_errors_can_be_tried_again(self, run_ea, out, raw, small, make_video, tmp_path):
        mended = tmp_path / "raw"
        shutil.copytree(raw, mended)
        make_video(mended / "broken.mp4", [4], seed=11)
        settings = json.loads((out / "prepare.json").read_text())
        settings["stages"]["split"]["input"] = str(mended)
        (out / "prepare.json").write_text(json.dumps(settings))
        run_ea("prepare", mended, "--out", out, *small, "--resume")
        assert by_source(out)["broken.mp4"][0]["error"]
        run_ea("prepare", mended, "--out", out, *small, "--resume", "--retry-errors")
        assert by_source(out)["broken.mp4"][0]["motion_score"] > 0

    def test_replace_starts_anew(self, run_ea, out, raw, small, undisturbed):
        (out / "mine.txt").write_text("stays")
        run_ea("prepare", raw, "--out", out, *small, "--set", "split.min_seconds=3.9", "--replace")
        assert set(read_clips(out)) < set(read_clips(undisturbed))
        assert (out / "mine.txt").exists()

    def test_a_stage_that_is_left_out_drops_nothing(self, run_ea, out, raw):
        run_ea("prepare", raw, "--out", out, "--set", "split.min_pixels=0", "--stages", "export", "--resume")
        reasons = [row["reason"] for row in read_table(out / TABLE) if row["file_path"]]
        assert reasons == [None] * 7
        assert len(json.loads((out / LIST).read_text(encoding="utf-8"))) == 7

    def test_a_stage_that_is_added_takes_its_place(self, run_ea, out, raw, small):
        stages = ["split", "duration", "motion", "export"]
        run_ea("prepare", raw, "--out", out, *small, "--stages", ",".join(stages), "--resume")
        assert list(json.loads((out / "prepare.json").read_text())["stages"])[:3] == stages[:3]

    def test_killed_while_errors_are_tried_again(self, run_ea, raw, small, make_video, tmp_path, stop_after):
        mended, out = tmp_path / "raw", tmp_path / "out"
        shutil.copytree(raw, mended)
        run_ea("prepare", mended, "--out", out, *small)
        make_video(mended / "broken.mp4", [4], seed=11)
        with stop_after(1):
            run_ea("prepare", mended, "--out", out, *small, "--resume", "--retry-errors")
        run_ea("prepare", mended, "--out", out, *small, "--resume")
        assert by_source(out)["broken.mp4"][0]["motion_score"] > 0

    @pytest.mark.parametrize("num_gone", [1, 2, 3, 4])
    def test_killed_while_it_clears_the_folder(self, run_ea, out, raw, small, undisturbed, num_gone):
        gone = []

        def remove(path, **_):
            if len(gone) == num_gone:
                raise SystemExit
            if path.exists():
                gone.append(path.rename(path.with_name(f"gone {path.name}")))

        with pytest.MonkeyPatch.context() as patch, suppress(SystemExit):
            patch.setattr("shutil.rmtree", remove)
            patch.setattr("pathlib.Path.unlink", remove)
            clear(out)
        assert len(gone) == num_gone
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_ea("prepare", raw, "--out", out, *small, "--resume")
        assert (out / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()
        assert read_clips(out) == read_clips(undisturbed)

    def test_half_written_files_of_a_killed_run(self, run_ea, out, raw, small, tmp_path):
        for name in (".clips.77.part.parquet", "journal/.motion.77.part.jsonl"):
            (out / name).write_text("half")
        run_ea("prepare", raw, "--out", out, *small, "--resume")
        assert not [path for path in out.rglob("*") if ".part" in path.name]
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / ".prepare.77.part.json").write_text("half")  # killed before anything else was written
        run_ea("prepare", raw, "--out", tmp_path / "new", *small, "--stages", "split")

    def test_own_columns_stay(self, run_ea, out, raw, small):
        table = read_table(out / TABLE)
        table.column("mine")[0] = "note"
        write_table(out / TABLE, table)
        run_ea("prepare", raw, "--out", out, *small, "--resume")
        assert read_table(out / TABLE).column("mine")[0] == "note"


def test_a_full_disk_stops_the_run_which_goes_on_later(run_ea, raw, small, undisturbed, tmp_path, monkeypatch):
    from easyanimate_data.preparation import split

    real, cuts = split.cut_clip, []

    def cut(cursor, frames, out):
        cuts.append(out)
        if len(cuts) == 3:
            raise OSError(28, "No space left on device", str(out))
        return real(cursor, frames, out)

    out = tmp_path / "out"
    monkeypatch.setattr(split, "cut_clip", cut)
    with pytest.raises(MediaError, match=r"disk is full[\s\S]*--resume"):
        run_ea("prepare", raw, "--out", out, *small)
    assert not [path for path in out.rglob("*") if ".part" in path.name]
    monkeypatch.setattr(split, "cut_clip", real)
    run_ea("prepare", raw, "--out", out, *small, "--resume")
    assert (out / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()


def test_a_full_disk_while_the_table_is_written(run_ea, raw, small, tmp_path, monkeypatch):
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("easyanimate_data.preparation.folder.write_table", full)
    with pytest.raises(MediaError, match=r"disk is full[\s\S]*--resume"):
        run_ea("prepare", raw, "--out", tmp_path / "out", *small)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C for a group of processes")
def test_a_run_that_is_stopped_leaves_nothing_half_written(run_ea, make_video, tmp_path):
    out = tmp_path / "out"
    for k in range(4):  # one or two are under way when the first is seen
        make_video(tmp_path / "raw" / f"{k}.mp4", [9], size=(480, 640))
    words = [sys.executable, run_ea.path, "split", tmp_path / "raw", "--out", out, "--set", "split.min_pixels=0"]
    with subprocess.Popen(  # noqa: S603 (own code)
        [str(word) for word in [*words, "--engine", "processes"]], start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not list(out.rglob(".*.part")):
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
    assert not list(out.rglob(".*.part"))
    assert not (out / TABLE).exists()


class TestBadInput:
    def test_no_videos(self, run_ea, tmp_path):
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "a.txt").touch()
        with pytest.raises(MediaError, match=r"No videos were found[\s\S]*1 \.txt[\s\S]*\.mp4 \.webm \.mkv"):
            run_ea("prepare", tmp_path / "raw", "--out", tmp_path / "out")

    def test_no_such_folder(self, run_ea, tmp_path):
        with pytest.raises(MediaError, match="no such folder"):
            run_ea("prepare", tmp_path / "nowhere", "--out", tmp_path / "out")

    def test_a_folder_of_another_run(self, run_ea, undisturbed, raw, small):
        before = (undisturbed / TABLE).read_bytes()
        with pytest.raises(MediaError, match=r"earlier run[\s\S]*--resume to continue it, --replace"):
            run_ea("prepare", raw, "--out", undisturbed, *small)
        assert (undisturbed / TABLE).read_bytes() == before

    def test_a_folder_of_something_else(self, run_ea, raw, tmp_path):
        (tmp_path / "thesis.docx").touch()
        with pytest.raises(MediaError, match=r"other files[\s\S]*thesis"):
            run_ea("prepare", raw, "--out", tmp_path)

    def test_nothing_to_resume(self, run_ea, raw, tmp_path):
        with pytest.raises(MediaError, match="nothing to resume"):
            run_ea("prepare", raw, "--out", tmp_path / "out", "--resume")

    def test_a_bound_that_drops_everything(self, run_ea, raw, tmp_path):
        words = ["--set", "split.min_pixels=0", "--stages", "split,motion"]
        with pytest.raises(MediaError, match=r"no clip is left[\s\S]*motion_score < 100; motion_score: \d+ clips"):
            run_ea("prepare", raw, "--out", tmp_path / "out", *words, "--min", "motion=100")
        run_ea("prepare", raw, "--out", tmp_path / "out", *words, "--min", "motion=0", "--resume")

    def test_no_clips_yet(self, run_ea, raw, tmp_path):
        with pytest.raises(RequestError, match="begin with split"):
            run_ea("prepare", raw, "--out", tmp_path / "out", "--stages", "motion,export")

    def test_a_second_run_at_the_same_time(self, run_ea, raw, small, tmp_path):
        from easyanimate_data.preparation.folder import open_folder

        with open_folder(tmp_path / "out"), pytest.raises(MediaError, match="Another run"):
            run_ea("prepare", raw, "--out", tmp_path / "out", *small)

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["--stages", "split,motoin"], r"There is no stage motoin[\s\S]*did you mean motion"),
            (["--stages", "split,split"], "each only once"),
            (["--min", "motion"], "FILTER=NUMBER"),
            (["--min", "motion=much"], r"filters.motion.minimum must be a number[\s\S]*'much'"),
            (["--set", "filters.motion.least=2"], "Unknown setting filters.motion.least"),
            (["--set", "filters.text.options.langs=en", "--stages", "text"], "langs"),
            (["--set", "split.min_secs=2"], r"Unknown setting split.min_secs[\s\S]*did you mean min_seconds"),
            (["--set", "split.min_seconds=20"], "at most split.max_seconds"),
            (["--set", "batch_size=0"], "batch_size is out of range"),
            (["--workers", "2"], "--engine processes"),
            (["--resume", "--replace"], "one of them"),
        ],
    )
    def test_options_that_cannot_be_taken(self, run_ea, words, says, raw, tmp_path):
        with pytest.raises(RequestError, match=says):
            run_ea("prepare", raw, "--out", tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()
