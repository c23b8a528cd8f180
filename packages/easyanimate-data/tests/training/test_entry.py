import json

import pytest
from easyanimate_core import MediaError
from easyanimate_data.training.entry import Entry, read_entries


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b 中文's.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def write(folder, name, text, encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_csv_and_json_give_the_same(folder):
    table = 'file_path,text,type,width,height\na.mp4,"one, ""two""\nthree",video,96,64\nb 中文\'s.png,b,,,\n'
    rows = [
        {"file_path": "a.mp4", "text": 'one, "two"\nthree', "type": "video", "width": 96, "height": 64},
        {"file_path": "b 中文's.png", "text": "b"},
    ]
    expected = (
        Entry(folder / "a.mp4", 'one, "two"\nthree', "video", 64, 96),
        Entry(folder / "b 中文's.png", "b", "image"),
    )
    assert read_entries(write(folder, "data.csv", table)) == expected
    assert read_entries(write(folder, "bom.CSV", table, "utf-8-sig")) == expected
    assert read_entries(write(folder, "data.json", json.dumps(rows))) == expected


def test_paths_are_relative_to_a_root_or_absolute(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    rows = json.dumps([{"file_path": "a.mp4", "text": ""}, {"file_path": str(folder / "a.mp4"), "text": ""}])
    entries = read_entries(write(other, "data.json", rows), root=folder)
    assert [entry.path for entry in entries] == [folder / "a.mp4"] * 2


def test_all_mistakes_are_named_at_once(folder):
    table = (
        "file_path,text,type,width,height\n"
        "a.mp4,ok,video,,\ngone.mp4,x,video,,\na.mp4\na.mp4,x,sound,,\na.mp4,x,video,wide,64\na.mp4,x,video,96,0\n"
    )
    with pytest.raises(MediaError, match="5 of 6 rows") as caught:
        read_entries(write(folder, "data.csv", table))
    for part in (
        "row 1: no such file",
        "row 2: file_path and text",
        "row 3: type 'sound'",
        "row 4: width 'wide'",
        "row 5: height '0'",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "file_path,text,type\n", 'file_path,text\n"a.mp4,never closed'])
def test_csv_files_without_rows_are_refused(folder, text):
    with pytest.raises(MediaError, match="The dataset"):
        read_entries(write(folder, "data.csv", text))


def test_another_encoding_is_refused(folder):
    with pytest.raises(MediaError, match="cannot be read"):
        read_entries(write(folder, "data.csv", "file_path,text\na.mp4,中文\n", "gb18030"))


def test_a_csv_without_the_columns_is_refused(folder):
    with pytest.raises(MediaError, match="1 of 1 rows"):
        read_entries(write(folder, "data.csv", "path;caption\na.mp4;x\n"))
