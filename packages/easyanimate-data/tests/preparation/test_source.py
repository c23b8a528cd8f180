"""Raw videos are found wherever they lie, each folder once."""

import os
import sys

import pytest
from easyanimate_core import MediaError, StageContext
from easyanimate_data.preparation.scene import SplitSettings
from easyanimate_data.preparation.source import SOURCE_SUFFIXES, list_sources
from easyanimate_data.preparation.split import find_sources


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_in_natural_order_with_all_endings(tmp_path):
    touch(tmp_path, "v10.mp4", "v2.MP4", "sub/视频 1.mkv", "sub/it's.webm", "a.txt", "b.jpg", ".hidden.mp4", "noending")
    sources = list_sources(tmp_path)
    assert sources.paths == ("sub/it's.webm", "sub/视频 1.mkv", "v2.MP4", "v10.mp4")
    assert sources.others == {".txt": 1, ".jpg": 1, ".mp4": 1, "noending": 1}
    assert {".mp4", ".webm", ".mkv", ".avi", ".flv", ".mov"} <= set(SOURCE_SUFFIXES)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "elsewhere/a.mp4", "raw/b.mp4", "raw/sub/c.mp4")
    raw = tmp_path / "raw"
    (raw / "folder").symlink_to(tmp_path / "elsewhere")
    (raw / "file.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    (raw / "sub" / "back").symlink_to(raw)
    assert list_sources(raw).paths == ("b.mp4", "file.mp4", "folder/a.mp4", "sub/c.mp4")


def test_the_output_is_not_looked_into(tmp_path):
    touch(tmp_path, "a.mp4", "dataset/clips/a.mp4/a_0.mp4")
    assert list_sources(tmp_path, leave_out=tmp_path / "dataset").paths == ("a.mp4",)


def test_nothing_to_find(tmp_path):
    with pytest.raises(MediaError, match="no such folder"):
        list_sources(tmp_path / "nowhere")
    touch(tmp_path, "a.pdf")
    with pytest.raises(MediaError, match=r"1 \.pdf[\s\S]*\.mov"):
        list_sources(tmp_path)


def test_hidden_folders_are_passed_over(tmp_path):
    """As hidden files are; and clips of a folder `.x.part` would be taken for half-written ones."""
    touch(tmp_path, "a.mp4", ".x.part/b.mp4", "sub/.trash/c.mp4")
    assert list_sources(tmp_path).paths == ("a.mp4",)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names are always Unicode there")
def test_names_that_are_no_utf8_can_be_written_down(tmp_path):
    touch(tmp_path, "a.mp4")
    for name in (b"bad\xff.mp4", b"note.\xfe"):
        (tmp_path / os.fsdecode(name)).touch()
    sources = list_sources(tmp_path)
    assert sources.paths == ("a.mp4", r"bad\xff.mp4")
    assert sources.others == {r".\xfe": 1}


def test_further_endings_and_images_are_taken_where_settings_say_so(tmp_path):
    touch(tmp_path, "raw/a.mp4", "raw/b.H264", "raw/c.png", "raw/d.heif", "raw/e.txt")
    context = StageContext(input=tmp_path / "raw", dataset=tmp_path / "out")
    assert find_sources(SplitSettings(), context) == ("a.mp4", "c.png", "d.heif")
    assert find_sources(SplitSettings(images=False), context) == ("a.mp4",)
    for ending in (".h264", "h264", " .H264"):
        assert find_sources(SplitSettings(images=False, endings=(ending,)), context) == ("a.mp4", "b.H264")
