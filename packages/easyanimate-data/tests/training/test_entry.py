import json
from pathlib import Path

import pytest
from easyanimate_core import MediaError
from easyanimate_data.training.entry import DATASET_NAME, Entry, read_entries


def write(folder, name, text, encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_csv_and_json_give_the_same(tmp_path):
    table = 'file_path,text,type,width,height\na.mp4,"one, ""two""\nthree",video,96,64\nb 中文\'s.png,b,,,\n'
    rows = [
        {"file_path": "a.mp4", "text": 'one, "two"\nthree', "type": "video", "width": 96, "height": 64, "more": [1]},
        {"file_path": "b 中文's.png", "text": "b"},
    ]
    expected = [
        Entry(0, str(tmp_path / "a.mp4"), 'one, "two"\nthree', "video", 64, 96),
        Entry(1, str(tmp_path / "b 中文's.png"), "b", "image"),
    ]
    assert read_entries(write(tmp_path, "data.csv", table)) == (expected, {})
    assert read_entries(write(tmp_path, "bom.CSV", table, "utf-8-sig")) == (expected, {})
    assert read_entries(write(tmp_path, "data.json", json.dumps(rows))) == (expected, {})


def test_paths_are_relative_to_the_list_or_a_root_or_absolute(tmp_path):
    rows = json.dumps([{"file_path": "a.mp4", "text": ""}, {"file_path": "/there/a.mp4", "text": ""}])
    path = write(tmp_path, DATASET_NAME, rows)
    for entries in (read_entries(path).entries, read_entries(tmp_path).entries):
        assert [entry.file for entry in entries] == [str(tmp_path / "a.mp4"), "/there/a.mp4"]
    assert read_entries(path, tmp_path / "root").entries[0].path == tmp_path / "root" / "a.mp4"


def test_relative_lists_name_files_from_everywhere(tmp_path, monkeypatch):
    write(tmp_path, "data.json", json.dumps([{"file_path": "a.mp4", "text": ""}]))
    monkeypatch.chdir(tmp_path)
    assert read_entries(Path("data.json")).entries[0].file == str(tmp_path / "a.mp4")


GOOD = {"file_path": "a.mp4", "text": "a", "type": "video"}


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        ("a.mp4", "an object is needed, not 'a.mp4'"),
        (None, "an object is needed, not None"),
        ({"text": "a"}, "file_path is missing"),
        ({**GOOD, "text": None}, "text is missing"),
        ({**GOOD, "file_path": 3}, "file_path 3 is no text"),
        ({**GOOD, "text": ["a"] * 100}, "text ['a', "),
        ({**GOOD, "type": "sound"}, "type 'sound' is none of video, image"),
        ({**GOOD, "type": ["video"]}, "type ['video'] is none of"),
        ({**GOOD, "height": "wide"}, "height 'wide' is no number of pixels"),
        ({**GOOD, "width": 0}, "width 0 is no"),
        ({**GOOD, "width": 12.5}, "width 12.5 is no"),
        ({**GOOD, "width": True}, "width True is no"),
        ({**GOOD, "width": 10**400}, "width 1000"),
    ],
)
def test_mistakes_are_told_by_row(tmp_path, row, mistake):
    entries, mistakes = read_entries(write(tmp_path, "data.json", json.dumps([GOOD, row, GOOD])))
    assert [entry.row for entry in entries] == [0, 2]
    assert list(mistakes) == [1]
    assert mistakes[1].startswith(mistake)
    assert len(mistakes[1]) < 150


def test_mistakes_in_a_csv(tmp_path):
    table = "file_path,text,type,width,height\na.mp4,ok,video,,\na.mp4\na.mp4,x,video,wide,64\n,,,,\n"
    entries, mistakes = read_entries(write(tmp_path, "data.csv", table))
    assert [entry.row for entry in entries] == [0, 3]  # an empty path is found out when the file is looked for
    assert mistakes == {1: "text is missing", 2: "width 'wide' is no number of pixels"}


@pytest.mark.parametrize("text", ["{", "{}", "[]", '"text"', "[" * 100_000])
def test_files_that_are_no_list_are_refused(tmp_path, text):
    with pytest.raises(MediaError, match="The dataset"):
        read_entries(write(tmp_path, "data.json", text))


@pytest.mark.parametrize("text", ["", "file_path,text,type\n", 'file_path,text\n"a.mp4,never closed'])
def test_csv_files_without_rows_are_refused(tmp_path, text):
    with pytest.raises(MediaError, match="The dataset"):
        read_entries(write(tmp_path, "data.csv", text))


def test_another_encoding_is_refused(tmp_path):
    with pytest.raises(MediaError, match="cannot be read"):
        read_entries(write(tmp_path, "data.csv", "file_path,text\na.mp4,中文\n", "gb18030"))


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"cannot be read.*\n.*gone\.json"):
        read_entries(tmp_path / "gone.json")


def test_a_csv_without_the_columns_has_only_mistakes(tmp_path):
    assert read_entries(write(tmp_path, "data.csv", "clip;words\na.mp4;x\n")) == ([], {0: "file_path is missing"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "0.mp4", "text": "one"}\n\n{"file_name": "b/1.png", "text": "two"}\n'),
        ("metadata.csv", "file_name,caption\r\n0.mp4,one\r\nb/1.png,two\r\n"),
        ("metadata.csv", "video;caption\n0.mp4;one\nb/1.png;two\n"),
        ("any.tsv", "path\tprompt\n0.mp4\tone\nb/1.png\ttwo\n"),
        ("any.jsonl", '{"video": "0.mp4", "caption": "one"}\n{"image": "b\\\\1.png", "caption": "two"}\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_other_trainers(tmp_path, name, text, encoding):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").touch()
    path = write(tmp_path, name, text, encoding)
    expected = [
        Entry(0, str(tmp_path / "0.mp4"), "one", "video"),
        Entry(1, str(tmp_path / "b" / "1.png"), "two", "image"),
    ]
    assert read_entries(path) == (expected, {})
    if name.startswith("metadata"):
        assert read_entries(tmp_path) == (expected, {})


def test_captions_beside_their_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("10.mp4", "2.MOV", "deep/a.png", ".hidden.mp4", "notes.md", "none.webm"):
        (tmp_path / name).touch()
    write(tmp_path, "10.txt", "ten\n  words ", "utf-8-sig")
    write(tmp_path, "2.txt", "两个", "utf-16")
    write(tmp_path, "deep/a.png.txt", "deep")
    listing = read_entries(tmp_path)
    assert [(Path(entry.file).name, entry.text, entry.kind) for entry in listing.entries] == [
        ("2.MOV", "两个", "video"),
        ("10.mp4", "ten words", "video"),
        ("a.png", "deep", "image"),
        ("none.webm", "", "video"),
    ]
    (tmp_path / "10.txt").write_bytes(b"\xff\x00\xfe\xff\xff")
    assert "10.txt" in read_entries(tmp_path).mistakes[1]


def test_a_folder_that_is_no_dataset_names_the_ways_to_make_it_one(tmp_path):
    with pytest.raises(MediaError, match=r"no dataset[\s\S]*metadata\.jsonl"):
        read_entries(tmp_path)
    (tmp_path / "0.mp4").touch()
    with pytest.raises(MediaError, match=r"1 videos and images, no captions[\s\S]*ea data captions"):
        read_entries(tmp_path)


@pytest.mark.parametrize(
    "named",
    [
        "clips\\0.mp4",
        ".\\clips\\0.mp4",
        "C:\\data\\set\\clips\\0.mp4",
        "\\\\server\\share\\clips\\0.mp4",
        "D:clips\\0.mp4",
    ],
)
def test_paths_of_windows(tmp_path, named):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "0.mp4").touch()
    path = write(tmp_path, "data.json", json.dumps([{"file_path": named, "text": "a", "type": "video"}]))
    (entry,) = read_entries(path).entries
    assert Path(entry.file).samefile(tmp_path / "clips" / "0.mp4")
