import json

import numpy as np
import pytest
from easyanimate_core import MediaError, Video
from easyanimate_core.interfaces import CaptionedClips
from easyanimate_core.video import write_image, write_video
from easyanimate_data.shapes.clip import COMBINATIONS, render_clip
from easyanimate_data.training.dataset import JsonClips


@pytest.fixture
def folder(tmp_path):
    clip = render_clip(COMBINATIONS[1], rng=np.random.default_rng(0), num_frames=20, height=64, width=96)
    write_video(tmp_path / "clips" / "a.mp4", Video(clip, 8))
    write_image(tmp_path / "b.png", clip[0])
    write_rows(tmp_path, [row("clips/a.mp4", "video"), row("b.png", "image"), {"file_path": "b.png", "text": "b"}])
    return tmp_path


def row(path, kind):
    return {"file_path": path, "text": f"text of {path}", "type": kind}


def write_rows(folder, rows):
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")


def open_clips(folder, **options):
    return JsonClips(folder / "data.json", **{"num_frames": 8, "height": 32, "width": 32, **options})


def test_videos_and_images(folder):
    clips = open_clips(folder)
    assert isinstance(clips, CaptionedClips)
    assert clips.captions == ("text of clips/a.mp4", "text of b.png", "b")
    assert [clips[index]["frames"].shape for index in range(3)] == [(8, 32, 32, 3), (1, 32, 32, 3), (1, 32, 32, 3)]
    assert clips[0]["frames"].dtype == np.uint8
    assert clips[0]["text"] == "text of clips/a.mp4"


def test_same_index_gives_the_same_frames_and_the_seed_moves_them(folder):
    np.testing.assert_array_equal(open_clips(folder)[0]["frames"], open_clips(folder)[0]["frames"])
    first_frames = {open_clips(folder, seed=seed)[0]["frames"][0].tobytes() for seed in range(12)}
    assert len(first_frames) > 3


def test_stride_takes_every_second_frame(folder):
    whole = open_clips(folder, num_frames=20)[0]["frames"]
    strided = open_clips(folder, num_frames=10, stride=2)[0]["frames"]
    assert any(np.array_equal(strided, whole[start : start + 19 : 2]) for start in (0, 1))


def test_too_short_video_is_named(folder):
    with pytest.raises(MediaError, match=r"a\.mp4: 20 frames\n.*at least 21"):
        open_clips(folder, num_frames=21)[0]


def test_all_bad_rows_are_named_at_once(folder):
    write_rows(folder, [row("clips/a.mp4", "video"), row("gone.mp4", "video"), {"text": "x"}, row("b.png", "sound")])
    with pytest.raises(MediaError, match="3 of 4 rows") as caught:
        open_clips(folder)
    for part in ("row 1: no such file", "gone.mp4", "row 2: file_path and text", "row 3: type 'sound'"):
        assert part in str(caught.value)


def test_long_lists_of_mistakes_are_cut(folder):
    write_rows(folder, [row(f"gone{number}.mp4", "video") for number in range(50)])
    with pytest.raises(MediaError, match="and 30 more"):
        open_clips(folder)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '"text"'])
def test_files_that_are_no_list_are_refused(tmp_path, text):
    (tmp_path / "data.json").write_text(text, encoding="utf-8")
    with pytest.raises(MediaError, match="The dataset"):
        open_clips(tmp_path)


def test_missing_json_is_refused(tmp_path):
    with pytest.raises(MediaError, match="cannot be read"):
        open_clips(tmp_path)


def test_root_replaces_the_folder_of_the_json(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_rows(other, [row("b.png", "image"), row(str(folder / "b.png"), "image")])
    assert len(JsonClips(other / "data.json", num_frames=1, height=16, width=16, root=folder)) == 2


def test_a_csv_is_read_as_well(folder):
    (folder / "data.csv").write_text("file_path,text,type\nclips/a.mp4,one,video\n", encoding="utf-8")
    clips = JsonClips(folder / "data.csv", num_frames=8, height=32, width=32)
    assert clips.captions == ("one",)
    np.testing.assert_array_equal(clips[0]["frames"], open_clips(folder)[0]["frames"])


def test_a_damaged_video_is_replaced_and_counted(folder):
    (folder / "bad.mp4").write_bytes(b"no video")
    write_rows(folder, [row("bad.mp4", "video"), row("clips/a.mp4", "video"), row("b.png", "image")])
    clips = open_clips(folder)
    assert clips[0]["text"] == "text of clips/a.mp4"
    assert clips[0]["frames"].shape == (8, 32, 32, 3)
    assert len(clips.bad) == 2
    assert "bad.mp4" in clips.bad[0]


def test_decord_reads_the_same(folder):
    pytest.importorskip("decord")
    read = open_clips(folder)[0]["frames"].astype(int)
    np.testing.assert_allclose(open_clips(folder, reader="decord")[0]["frames"], read, atol=3)
