import numpy as np
import pytest
from easyanimate_core import MediaError, Video
from easyanimate_core.video import write_image, write_video
from easyanimate_data.training.entry import Entry
from easyanimate_data.training.reading import find_facts, read_covering, read_still
from PIL import Image


def write_clip(path, num_frames=10):
    frames = np.zeros((num_frames, 48, 96, 3), np.uint8)
    frames[:, :, :48] = 20 * np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return write_video(path, Video(frames, 8))


def make_entry(path, kind):
    return Entry(0, str(path), "", kind, 7, 9)


def test_sizes_come_from_the_file(tmp_path):
    clip = write_clip(tmp_path / "a.mp4")
    image = write_image(tmp_path / "b.png", np.zeros((30, 50, 3), np.uint8))
    assert find_facts(make_entry(clip, "video"))[:2] == (48, 96)
    assert find_facts(make_entry(image, "image")) == (30, 50, None)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_of_images_are_upright_as_they_are_read(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (50, 30)).save(tmp_path / "a.jpg", exif=exif)
    expected = (50, 30) if orientation > 4 else (30, 50)
    assert find_facts(make_entry(tmp_path / "a.jpg", "image"))[:2] == expected
    assert read_still(tmp_path / "a.jpg", expected).shape == (1, *expected, 3)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_files_that_are_none_are_named(tmp_path, kind):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    for name in ("a.mp4", "gone.mp4"):
        with pytest.raises(MediaError, match=name):
            find_facts(make_entry(tmp_path / name, kind))


def test_a_type_that_was_forgotten_or_is_wrong_is_told(tmp_path):
    with pytest.raises(MediaError, match='the type "video"'):
        find_facts(make_entry(write_clip(tmp_path / "a.mp4"), "image"))
    with pytest.raises(MediaError, match="is an image, not a video"):
        find_facts(make_entry(write_image(tmp_path / "b.png", np.zeros((30, 50, 3), np.uint8)), "video"))


def test_a_video_that_breaks_off_is_found_out_by_its_index(tmp_path):
    clip = write_clip(tmp_path / "a.mp4")
    clip.write_bytes(clip.read_bytes()[:-20])
    with pytest.raises(MediaError, match=r"ends before its own index.*\n.*a\.mp4"):
        find_facts(make_entry(clip, "video"))


def test_chosen_frames_cover_the_size(tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    frames = read_covering(path, (16, 32), lambda timeline: [len(timeline) - 1, 2])
    assert frames.shape == (2, 16, 32, 3)
    assert frames.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(frames[:, 8, 4, 0], [180, 40], atol=6)
    middle = read_covering(path, (48, 32), lambda _: [9])
    np.testing.assert_allclose(middle[0, 24, [2, -3], 0], [180, 0], atol=6)
