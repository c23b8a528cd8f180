import json
import logging
import pickle
import threading

import numpy as np
import pytest
from easyanimate_core import MediaError, RequestError
from easyanimate_core.dataset import Batchable, BatchedDataset, BatchRule
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_image
from easyanimate_data.training import inspection
from easyanimate_data.training.reading import Facts
from easyanimate_data.training.training_set import TrainingSet

RULE = BatchRule(chunk_frames=8)


def write(folder, rows):
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder / "data.json"


@pytest.fixture
def mixed(clips, tmp_path):
    """A list with two good rows, 0 and 8, and what can be wrong with one."""
    folder, rows = clips
    whole = (folder / "0.mp4").read_bytes()
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    bad = [
        {"file_path": "gone.mp4", "text": "", "type": "video"},
        {"file_path": "text.mp4", "text": "", "type": "video"},
        {"file_path": "truncated.mp4", "text": "", "type": "video", "height": 64, "width": 64},
        {"file_path": "empty.png", "text": ""},
        {**rows[0], "type": "sound"},
        {**rows[0], "text": 7},
        {"text": "", "type": "video"},
    ]
    return write(tmp_path, [rows[0], *bad, rows[3]])


MISTAKES = [
    ("row 1: ", "gone.mp4", "no such file"),
    ("row 2: ", "text.mp4", "cannot be read"),
    ("row 3: ", "truncated.mp4", "ends before its own index"),
    ("row 4: ", "empty.png", "cannot be read"),
    ("row 5: ", "type 'sound' is none of video, image"),
    ("row 6: ", "text 7 is no text"),
    ("row 7: ", "file_path is missing"),
]


def test_rows_that_cannot_be_used_are_listed_and_left_out(mixed, caplog):
    training_set = TrainingSet(mixed)
    assert [entry.row for entry in training_set.entries] == [0, 8]
    assert len(training_set) == 2
    for line, parts in zip(training_set.skipped, MISTAKES, strict=True):
        assert line.startswith(parts[0])
        assert all(part in line for part in parts)
        assert "\n" not in line
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("easyanimate.data", logging.WARNING)
    text = record.getMessage()
    assert text.startswith(f"7 of 9 rows of {mixed} are left out:")
    assert all(line in text for line in training_set.skipped)
    assert training_set.batched(RULE, seed=0).skipped == training_set.skipped


def test_with_strict_they_are_an_error(mixed):
    with pytest.raises(MediaError, match="7 of 9 rows") as caught:
        TrainingSet(mixed, strict=True)
    for parts in MISTAKES:
        assert all(part in str(caught.value) for part in parts)


def test_long_lists_of_mistakes_are_cut(clips, tmp_path, caplog):
    _, rows = clips
    path = write(tmp_path, [*({**rows[0], "file_path": f"gone{number}.mp4"} for number in range(50)), rows[0]])
    assert len(TrainingSet(path).skipped) == 50
    with pytest.raises(MediaError, match="and 30 more") as caught:
        TrainingSet(path, strict=True)
    for text in (caplog.text, str(caught.value)):
        assert "row 19: " in text
        assert "row 20: " not in text


def test_a_list_without_a_row_that_can_be_used_is_an_error(tmp_path):
    with pytest.raises(MediaError, match=r"1 of 1 rows.*\n.*\n.*gone\.mp4"):
        TrainingSet(write(tmp_path, [{"file_path": "gone.mp4", "text": "", "type": "video"}]))


def test_good_lists_say_nothing(clips, caplog):
    folder, _ = clips
    training_set = TrainingSet(folder / "data.json", strict=True)
    assert training_set.skipped == ()
    assert [(entry.height, entry.width) for entry in training_set.entries][1:4] == [(72, 128), (64, 64), (128, 128)]
    assert not caplog.records


def test_the_size_that_a_row_has_counts(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((64, 96, 3), np.uint8))
    (entry,) = TrainingSet(write(tmp_path, [{"file_path": "a.png", "text": "", "height": 7, "width": 9}])).entries
    assert (entry.height, entry.width) == (7, 9)


def test_a_file_is_opened_once_whoever_has_the_set(clips, tmp_path, monkeypatch):
    _, rows = clips
    opened = []
    monkeypatch.setattr(inspection, "find_facts", lambda entry: opened.append(entry.file) or Facts(64, 64, 8.0))
    training_set = TrainingSet(write(tmp_path, [rows[0]] * 3 + [rows[3]]))
    assert sorted(opened) == sorted([rows[0]["file_path"], rows[3]["file_path"]])
    again = pickle.loads(pickle.dumps(training_set))  # noqa: S301 (made above)
    assert again.entries == training_set.entries
    again.batched(RULE, seed=0)
    assert len(opened) == 2


def test_a_file_that_hangs_is_given_up(clips, tmp_path, monkeypatch):
    _, rows = clips
    done = threading.Event()

    def look(entry):
        if "0.mp4" in entry.file:
            done.wait(60)
        return Facts(64, 64, 8.0)

    monkeypatch.setattr(inspection, "find_facts", look)
    (line,) = TrainingSet(write(tmp_path, rows[:2]), seconds=2).skipped
    done.set()
    assert "over 2 seconds" in line


@pytest.mark.parametrize("wrong", [{"reader": "opencv"}, {"seconds": 0}])
def test_options_without_meaning_are_refused(clips, wrong):
    folder, _ = clips
    with pytest.raises(RequestError):
        TrainingSet(folder / "data.json", **wrong)


def test_it_is_what_is_called_json(clips, tmp_path):
    folder, rows = clips
    path = write(tmp_path, [{**rows[0], "file_path": "0.mp4"}])
    opened = load_plugins().dataset("json").load(path=str(path), root=str(folder), reader="pyav", strict=True)
    assert isinstance(opened, Batchable)
    assert isinstance(opened.batched(RULE, seed=0), BatchedDataset)


def test_compat_may_leave_nothing(clips, tmp_path):
    _, rows = clips
    training_set = TrainingSet(write(tmp_path, rows[:1]))
    with pytest.raises(RequestError, match="no images"):
        training_set.batched(BatchRule(video_repeat=0, compat=True), seed=0)


def test_rows_without_captions_are_counted_in_a_warning(clips, tmp_path, caplog):
    folder, rows = clips
    listed = [
        {**rows[0], "file_path": str(folder / rows[0]["file_path"]), "text": text} for text in ("", " ", "a", "b")
    ]
    TrainingSet(write(tmp_path, listed))
    assert "2 of 4 rows (50 %)" in caplog.text
    caplog.clear()
    TrainingSet(write(tmp_path, listed[2:]))
    assert "caption" not in caplog.text
