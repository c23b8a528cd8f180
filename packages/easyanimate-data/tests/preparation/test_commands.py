"""Each stage as a command of its own: it reads and writes the one table."""

import csv
import json
import shutil

import pytest
from easyanimate_core import MediaError, RequestError
from easyanimate_core.dataset import BatchRule
from easyanimate_data.preparation.table import read_table, write_table

TABLE = "clips.parquet"


@pytest.fixture
def dataset(undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "dataset")
    return tmp_path / "dataset"


def test_stage_by_stage_is_the_same_as_all_at_once(run_ea, raw, undisturbed, tmp_path):
    out = tmp_path / "out"
    run_ea("split", raw, "--out", out, "--set", "split.min_pixels=0")
    assert "motion_score" not in read_table(out / TABLE).columns
    run_ea("score", out, "--filters", "motion")
    assert read_table(out / TABLE).find_kept() == read_table(out / TABLE).find_clips()
    run_ea("filter", out, "--filters", "motion", "--min", "motion=0.05")
    run_ea("score", out, "--filters", "duplicates")
    run_ea("filter", out, "--filters", "duplicates")
    run_ea("export", out)
    assert (out / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()
    name = "json_of_internal_datasets.json"
    assert (out / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_stage_can_be_done_again(run_ea, dataset):
    before = read_table(dataset / TABLE)
    table = read_table(dataset / TABLE)
    table.column("motion_score")[:] = [9.0] * len(table)
    write_table(dataset / TABLE, table)
    run_ea("score", dataset, "--filters", "motion")
    assert read_table(dataset / TABLE).column("motion_score")[0] == 9.0
    run_ea("score", dataset, "--filters", "motion", "--replace")
    after = read_table(dataset / TABLE).column("motion_score")
    kept = before.find_kept()
    assert [after[place] for place in kept] == [before.column("motion_score")[place] for place in kept]


def test_a_stage_that_is_killed_while_it_is_done_again_keeps_no_old_values(run_ea, dataset, stop_after):
    before = read_table(dataset / TABLE).column("motion_score")
    table = read_table(dataset / TABLE)
    table.column("motion_score")[:] = [9.0] * len(table)
    write_table(dataset / TABLE, table)
    with stop_after(2):
        run_ea("score", dataset, "--filters", "motion", "--replace")
    run_ea("score", dataset, "--filters", "motion")
    assert read_table(dataset / TABLE).column("motion_score") == before


def test_a_stage_that_is_done_again_takes_what_had_failed(run_ea, dataset):
    before = read_table(dataset / TABLE)
    table = read_table(dataset / TABLE)
    table.update(before.find_kept()[0], {"error": "motion: broken", "reason": "error in motion", "motion_score": None})
    write_table(dataset / TABLE, table)
    run_ea("score", dataset, "--filters", "motion", "--replace")
    after = read_table(dataset / TABLE)
    assert after.column("motion_score") == before.column("motion_score")
    assert after.find_kept() == before.find_kept()


def test_what_later_stages_dropped_stays_dropped(run_ea, dataset, raw):
    kept = read_table(dataset / TABLE).find_kept()
    run_ea("score", dataset, "--filters", "motion")
    run_ea("split", raw, "--out", dataset, "--set", "split.min_pixels=0", "--resume")
    assert read_table(dataset / TABLE).find_kept() == kept


def test_filtering_can_be_tried_again(run_ea, dataset, capsys):
    run_ea("filter", dataset, "--filters", "motion", "--min", "motion=0")
    more = len(read_table(dataset / TABLE).find_kept())
    run_ea("filter", dataset, "--filters", "motion", "--min", "motion=0.05")
    assert len(read_table(dataset / TABLE).find_kept()) < more
    assert "rows are kept" in capsys.readouterr().out


def test_export_in_both_forms(run_ea, dataset):
    table = read_table(dataset / TABLE)
    kept = table.find_kept()
    table.update(kept[0], {"caption": 'a "red", 红色的 square', "rewritten": None})
    table.update(kept[1], {"caption": "long", "rewritten": "short"})
    write_table(dataset / TABLE, table)
    run_ea("export", dataset, "--format", "csv", "--absolute")
    with (dataset / "csv_of_internal_datasets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows[:2]] == ['a "red", 红色的 square', "short"]
    assert rows[0]["file_path"] == (dataset.resolve() / table.column("file_path")[kept[0]]).as_posix()
    run_ea("export", dataset)
    listed = json.loads((dataset / "json_of_internal_datasets.json").read_text(encoding="utf-8"))
    assert listed[0] == {"file_path": table.column("file_path")[kept[0]], "text": rows[0]["text"], "type": "video"}


def test_what_is_exported_can_be_trained_on(dataset):
    from easyanimate_data.plugin import ea_datasets

    (spec,) = [spec for spec in ea_datasets() if spec.key == "json"]
    path = dataset / "json_of_internal_datasets.json"
    clips = spec.load(dataset, strict=True)
    assert len(clips.entries) == len(json.loads(path.read_text(encoding="utf-8")))
    batches = clips.batched(BatchRule(video_size=32, num_frames=8, chunk_frames=8, buckets=False), seed=0)
    assert batches.load(batches.plan(0)[0], [0])["frames"].shape == (1, 8, 32, 32, 3)


def test_the_report_tells_of_every_reason(run_ea, dataset):
    run_ea("report", dataset)
    page = (dataset / "report.html").read_text(encoding="utf-8")
    for words in ("motion_score &lt; 0.05", "looks like another clip", "no scene of 3 s", "broken.mp4"):
        assert words in page


def test_filters_are_listed_with_their_bounds(run_ea, capsys):
    run_ea("filters")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["motion"].endswith("Kept: at least 2.")
    assert lines["text"].endswith("Kept: at most 0.02.")
    assert {"aesthetic", "duplicates", "align", "transformers", "openai"} <= set(lines)


def test_there_must_be_a_data_set(run_ea, tmp_path):
    for command in ("score", "filter"):
        with pytest.raises(MediaError, match=r"no data set[\s\S]*ea data split"):
            run_ea(command, tmp_path, "--filters", "motion")
    for command in ("export", "report", "caption", "align", "rewrite"):
        words = ["--server", "http://127.0.0.1:9/v1", "--model", "m"] if command in ("caption", "rewrite") else []
        with pytest.raises(MediaError, match="no data set"):
            run_ea(command, tmp_path, *words)
    assert not list(tmp_path.iterdir())


def test_clips_that_are_gone_are_named(run_ea, dataset):
    (dataset / read_table(dataset / TABLE).column("file_path")[0]).unlink()
    with pytest.raises(MediaError, match=r"gone[\s\S]*again_0.mp4"):
        run_ea("export", dataset)


def test_nothing_to_export(run_ea, dataset):
    table = read_table(dataset / TABLE)
    table.column("reason")[:] = ["because"] * len(table)
    write_table(dataset / TABLE, table)
    with pytest.raises(MediaError, match="nothing to export"):
        run_ea("export", dataset)


def test_a_server_that_is_down_is_told_before_anything_is_done(run_ea, dataset):
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match=r"server cannot be reached[\s\S]*127\.0\.0\.1:9"):
        run_ea("caption", dataset, "--server", "http://127.0.0.1:9/v1", "--model", "any")
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before


@pytest.fixture
def server_was_up(monkeypatch):
    """The server answers the check before a run, and goes down after it."""
    monkeypatch.setattr("easyanimate_data.preparation.need.check_server", lambda **_: None)


@pytest.mark.usefixtures("server_was_up")
def test_a_server_that_is_down_drops_no_clip_and_the_next_run_asks_again(run_ea, dataset, monkeypatch):
    words = ["--server", "http://127.0.0.1:9/v1", "--model", "any", "--set", "caption.options.max_retries=0"]
    before = read_table(dataset / TABLE).find_kept()
    with pytest.raises(MediaError, match=r"5 of 5 clips wait; none is dropped[\s\S]*did not answer"):
        run_ea("caption", dataset, *words)
    table = read_table(dataset / TABLE)
    assert table.find_kept() == before
    assert len([error for error in table.column("caption_error") if error]) == 5
    run_ea("export", dataset)
    assert len(json.loads((dataset / "json_of_internal_datasets.json").read_text(encoding="utf-8"))) == 5
    from easyanimate_data.preparation.captioner import openai_captioner

    monkeypatch.setattr(openai_captioner.OpenAICaptioner, "__call__", lambda *given: _answer_all_but_first(given[-1]))
    run_ea("caption", dataset, *words)
    run_ea("rewrite", dataset, "--set", "rewrite.captioner=openai", *_rewrite_words(monkeypatch))
    run_ea("export", dataset)
    listed = json.loads((dataset / "json_of_internal_datasets.json").read_text(encoding="utf-8"))
    assert [row["text"] for row in listed] == ["rewritten"] * 4  # the first one waits
    monkeypatch.setattr(openai_captioner.OpenAICaptioner, "__call__", lambda *given: ["a square"] * len(given[-1]))
    run_ea("caption", dataset, *words)
    table = read_table(dataset / TABLE)
    assert table.find_kept() == before
    assert sorted(table.column("caption")[place] for place in before) == ["a square", *["first try"] * 4]
    assert not any(table.column("caption_error"))
    run_ea("rewrite", dataset, "--set", "rewrite.captioner=openai", *_rewrite_words(monkeypatch))
    assert [read_table(dataset / TABLE).column("rewritten")[place] for place in before] == ["rewritten"] * 5


def _rewrite_words(monkeypatch):
    from easyanimate_data.preparation.captioner import openai_captioner

    answer = '{"rewritten description": "rewritten"}'
    monkeypatch.setattr(openai_captioner.OpenAICaptioner, "__call__", lambda *given: [answer] * len(given[-1]))
    return ["--server", "http://127.0.0.1:9/v1", "--model", "any"]


def test_a_server_needs_a_model(run_ea, dataset):
    with pytest.raises((MediaError, RequestError), match="model"):
        run_ea("caption", dataset, "--server", "http://127.0.0.1:9/v1")


@pytest.mark.usefixtures("server_was_up")
def test_rules_of_later_stages_do_not_keep_an_earlier_one_from_its_clips(run_ea, dataset, monkeypatch):
    from easyanimate_data.preparation.captioner import openai_captioner

    words = ["--server", "http://127.0.0.1:9/v1", "--model", "any"]
    monkeypatch.setattr(openai_captioner.OpenAICaptioner, "__call__", lambda *given: _answer_all_but_first(given[-1]))
    run_ea("caption", dataset, *words)
    run_ea("filter", dataset, "--filters", "align")  # nothing was aligned yet
    assert len(read_table(dataset / TABLE).find_kept()) == 1  # it waits for its caption
    monkeypatch.setattr(openai_captioner.OpenAICaptioner, "__call__", lambda *given: ["a square"] * len(given[-1]))
    run_ea("score", dataset, "--filters", "motion", "--retry-errors")
    run_ea("caption", dataset, *words, "--retry-errors")
    captions = read_table(dataset / TABLE).column("caption")
    assert (captions.count("a square"), captions.count("first try")) == (1, 4)


def _answer_all_but_first(clips):
    return [MediaError("down"), *["first try"] * (len(clips) - 1)]
