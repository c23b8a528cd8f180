"""Captions as a CSV file: written, edited, taken over."""

import csv
import json

import pytest
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_data.caption_table import edit_captions
from easyanimate_data.preparation.folder import open_folder
from easyanimate_data.preparation.table import read_table
from easyanimate_data.training.entry import read_entries


def edit(path, change):
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["text"] = change(row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["file_path", "text"], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_captions_of_a_bare_folder_are_typed(tmp_path, capsys):
    for name in ("1.mp4", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    edit_captions(tmp_path)
    table = edit(tmp_path / "captions.csv", lambda row: f'a "{row["file_path"]}"; 红')
    edit_captions(tmp_path, table=table)
    assert "2 captions changed" in capsys.readouterr().out
    assert [(entry.text, entry.kind) for entry in read_entries(tmp_path).entries] == [
        ('a "1.mp4"; 红', "video"),
        ('a "b/2.png"; 红', "image"),
    ]
    with pytest.raises(MediaError, match="there already"):
        edit_captions(tmp_path)


def test_captions_of_a_training_set_are_edited(tmp_path):
    rows = [{"file_path": "a.mp4", "text": "old", "type": "video", "height": 8, "width": 6}]
    (tmp_path / "metadata.jsonl").write_text(json.dumps(rows[0]))
    edit_captions(tmp_path)
    edit_captions(tmp_path, table=edit(tmp_path / "captions.csv", lambda row: f"{row['text']}, new"))
    assert json.loads((tmp_path / "json_of_internal_datasets.json").read_text()) == [rows[0] | {"text": "old, new"}]


def test_captions_of_a_prepared_set_go_into_its_table(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.table.extend(
            [
                {"source": "s", "start": 0.0, "file_path": "clips/0.mp4", "caption": "zero", "rewritten": "ZERO"},
                {"source": "s", "start": 1.0, "file_path": "clips/1.mp4", "caption_error": "the server is down"},
                {"source": "s", "start": 2.0, "file_path": "clips/2.mp4", "reason": "dropped"},
            ]
        )
        folder.save()
    edit_captions(tmp_path)
    edit_captions(tmp_path, table=edit(tmp_path / "captions.csv", lambda row: row["text"].lower() or "typed"))
    table = read_table(tmp_path / "clips.parquet")
    assert table.column("rewritten")[:2] == ["zero", None]
    assert table.column("caption")[:2] == ["zero", "typed"]
    assert not any(table.column("caption_error"))


def test_what_cannot_be_taken_over_changes_nothing(tmp_path):
    (tmp_path / "1.mp4").touch()
    for text, kind in (("file_path,text\nother.mp4,a\n", RequestError), ("file,words\n1.mp4,a\n", MediaError)):
        (tmp_path / "mine.csv").write_text(text)
        with pytest.raises(kind):
            edit_captions(tmp_path, table=tmp_path / "mine.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "mine.csv"]
