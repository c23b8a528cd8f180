"""Splitting files of all kinds: rotated, without audio, of an uneven rate, odd in size, read-only, damaged."""

import subprocess

import av
import numpy as np
import pytest
from easyanimate_core import MediaError, StageContext
from easyanimate_core.image import write_image
from easyanimate_core.video import read_video
from easyanimate_data.preparation.folder import DatasetFolder
from easyanimate_data.preparation.scene import SplitSettings
from easyanimate_data.preparation.split import Split
from easyanimate_data.timeline import read_timeline
from imageio_ffmpeg import get_ffmpeg_exe as find_ffmpeg
from PIL import Image

SETTINGS = SplitSettings(min_pixels=0)


def ffmpeg(*words):
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", *map(str, words)], check=True)  # noqa: S603 (own words)


@pytest.fixture
def split(tmp_path):
    (tmp_path / "raw").mkdir()
    work = Split(SETTINGS, StageContext(input=tmp_path / "raw", dataset=tmp_path / "out"))

    def run(source):
        return work.split(source)

    run.raw, run.out = work.context.input, work.context.dataset
    return run


def test_a_clip_begins_and_ends_where_it_should(split, make_video):
    make_video(split.raw / "a.mp4", [4, 2, 5])
    first, last = split("a.mp4")
    source = read_video(split.raw / "a.mp4").frames.astype(int)
    for row in (first, last):
        clip = read_video(split.out / row["file_path"]).frames.astype(int)
        begin = round(row["start"] * 10)
        assert len(clip) == round((row["end"] - row["start"]) * 10)
        assert np.abs(clip - source[begin : begin + len(clip)]).mean() < 4  # the same pictures, encoded anew
        assert np.abs(clip - source[begin + 1 : begin + 1 + len(clip)][: len(clip)]).mean() > 4


def test_a_rotation_tag_is_applied(split, make_video, tmp_path):
    make_video(tmp_path / "lying.mp4", [4])
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "lying.mp4", "-c", "copy", split.raw / "tagged.mp4")
    (row,) = split("tagged.mp4")
    assert (row["height"], row["width"]) == (96, 64)
    frames = read_video(split.out / row["file_path"]).frames
    assert frames.shape[1:3] == (96, 64)
    upright = read_video(split.raw / "tagged.mp4").frames
    assert np.abs(frames[5].astype(int) - upright[5]).mean() < 4


def test_audio_is_kept_and_may_be_missing(split, make_video):
    make_video(split.raw / "silent.mp4", [4])
    ffmpeg("-i", split.raw / "silent.mp4", "-f", "lavfi", "-i", "sine=440:d=4", "-c:v", "copy", split.raw / "loud.mkv")
    for source, num in (("silent.mp4", 0), ("loud.mkv", 1)):
        (row,) = split(source)
        with av.open(str(split.out / row["file_path"])) as clip:
            assert len(clip.streams.audio) == num


def test_an_uneven_frame_rate_keeps_its_times(split, make_video, tmp_path):
    make_video(tmp_path / "even.mp4", [6], fps=20)
    # Every second frame of the second half is left out.
    choose = "select='lt(t,3)+not(mod(n,2))'"
    ffmpeg("-i", tmp_path / "even.mp4", "-vf", choose, "-fps_mode", "vfr", split.raw / "uneven.mp4")
    (row,) = split("uneven.mp4")
    assert row["duration"] == pytest.approx(6, abs=0.15)
    assert len(set(np.diff(read_timeline(split.out / row["file_path"]).stamps))) == 2


def test_an_odd_size_loses_a_line(split, make_video, tmp_path):
    make_video(tmp_path / "even.mp4", [4])
    ffmpeg("-i", tmp_path / "even.mp4", "-vf", "crop=95:63", "-c:v", "ffv1", split.raw / "odd.mkv")
    (row,) = split("odd.mkv")
    assert (row["height"], row["width"]) == (62, 94)


def test_read_only_input(split, make_video):
    path = make_video(split.raw / "a.mp4", [4])
    path.chmod(0o444)
    split.raw.chmod(0o555)
    try:
        assert len(split("a.mp4")) == 1
    finally:
        split.raw.chmod(0o755)


def test_small_and_short_sources_give_a_row_with_a_reason(split, make_video):
    make_video(split.raw / "short.mp4", [2])
    (row,) = split("short.mp4")
    assert (row["reason"], row["file_path"], row["duration"]) == ("no scene of 3 s", None, 2.0)
    (row,) = Split(SplitSettings(), StageContext(input=split.raw, dataset=split.out)).split("short.mp4")
    assert row["reason"] == "source with fewer than 262144 pixels"
    assert not split.out.exists()


def test_an_image_becomes_a_row_and_is_copied_as_it_is(split):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    write_image(split.raw / "a.png", pixels)
    (row,) = split("a.png")
    assert (row["type"], row["num_frames"], row["height"], row["width"], row["pixels"]) == ("image", 1, 30, 40, 1200)
    assert row["file_path"] == "clips/a.png/a_0.png"
    assert (split.out / row["file_path"]).read_bytes() == (split.raw / "a.png").read_bytes()
    (row,) = Split(SplitSettings(), StageContext(input=split.raw, dataset=split.out)).split("a.png")
    assert (row["reason"], row["file_path"]) == ("source with fewer than 262144 pixels", None)


def test_an_image_that_programs_show_differently_is_written_anew(split):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(pixels).save(split.raw / "turned.png", exif=exif)
    Image.fromarray(pixels).save(split.raw / "plain.tiff")
    for name, upright in (("turned", np.rot90(pixels, -1)), ("plain", pixels)):
        (row,) = split(next(split.raw.glob(f"{name}.*")).name)
        assert row["file_path"].endswith(f"{name}_0.png")
        assert (row["height"], row["width"]) == upright.shape[:2]
        assert np.array_equal(np.asarray(Image.open(split.out / row["file_path"])), upright)


def test_an_image_above_the_limit_of_pillow_is_taken(split, monkeypatch):
    write_image(split.raw / "large.png", np.zeros((30, 40, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (row,) = split("large.png")
    assert (row["height"], row["width"]) == (30, 40)


@pytest.mark.parametrize("content", [b"", b"no video", b"\x00\x00\x00\x18ftypmp42" + bytes(2000)])
def test_no_video(split, content):
    (split.raw / "bad.mp4").write_bytes(content)
    with pytest.raises(MediaError):
        split("bad.mp4")
    with pytest.raises(MediaError, match="no such file"):
        split("gone.mp4")


def test_sound_alone(split):
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=4", split.raw / "sound.mp4")
    with pytest.raises(MediaError, match="no video"):
        split("sound.mp4")


def test_a_damaged_video_gives_no_half_clips(split, make_video):
    whole = make_video(split.raw / "a.mp4", [4]).read_bytes()
    (split.raw / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError):
        split("cut.mp4")
    assert not split.out.exists() or not [path for path in split.out.rglob("*") if path.is_file()]


def test_leftovers_are_removed(tmp_path):
    left = tmp_path / "clips" / "sub" / ".a.mp4.123.part"
    left.mkdir(parents=True)
    (left / "a_0.mp4").touch()
    whole = tmp_path / "clips" / "sub" / "b.mp4"
    whole.mkdir()
    DatasetFolder(tmp_path).remove_parts()
    assert [path.name for path in (tmp_path / "clips" / "sub").iterdir()] == ["b.mp4"]
