"""Clips are saved with their manifests, under a name that fits."""

from dataclasses import replace

import numpy as np
import pytest
from easyanimate_core import RequestError, Video, VideoRequest
from easyanimate_core.animation import frame_durations, read_frames
from easyanimate_core.clip import Clip, check_ending, ending
from easyanimate_core.manifest import Manifest, WeightsRecord, describe_request, read_manifest
from easyanimate_core.video import read_image, read_video
from PIL import Image

REQUEST = VideoRequest(
    prompt="x", num_frames=2, height=32, width=48, fps=8, num_inference_steps=1, guidance_scale=1, sampler="euler"
)


@pytest.fixture
def described():
    """How often a manifest was made."""
    return []


@pytest.fixture
def make(described):
    """A function that makes a clip of some frames."""

    def call(num_frames):
        request = replace(REQUEST, num_frames=num_frames)
        frames = np.random.default_rng(0).integers(0, 256, (num_frames, 32, 48, 3), np.uint8)
        manifest = Manifest(model="tiny", weights=WeightsRecord(name="none"), request=describe_request(request))
        return Clip(Video(frames, 8), request, lambda: described.append(1) or manifest)

    return call


def test_a_video(make, tmp_path):
    clip = make(2)
    path = clip.save(str(tmp_path / "new" / "x.MP4"))
    assert path == tmp_path / "new" / "x.MP4"
    assert read_manifest(path) == clip.manifest
    assert read_video(path).frames.shape == clip.frames.shape == (2, 32, 48, 3)


def test_one_frame_is_an_image_without_loss(make, tmp_path):
    clip = make(1)
    path = clip.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(path), clip.frames[0])
    assert read_manifest(path) == clip.manifest


def test_a_file_is_replaced_and_described_once(make, described, tmp_path):
    (tmp_path / "x.mp4").write_text("old")
    clip = make(2)
    assert not described
    for _ in range(2):
        assert len(read_video(clip.save(tmp_path / "x.mp4")).frames) == 2
    assert described == [1]


@pytest.mark.parametrize(
    ("num_frames", "name", "words"),
    [
        (2, "x.png", "ends in .mp4 or .gif or .webp"),
        (2, "x", "ends in .mp4 or"),
        (1, "x.mp4", "ends in .png .one frame is an image."),
    ],
)
def test_a_name_with_another_ending(make, tmp_path, num_frames, name, words):
    with pytest.raises(RequestError, match=words):
        make(num_frames).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_endings(make, tmp_path):
    assert [ending(make(num_frames).request) for num_frames in (1, 2)] == [".png", ".mp4"]
    check_ending(tmp_path / "a.PNG", make(1).request)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations(make, tmp_path, kind):
    clip = make(5)
    path = clip.save(tmp_path / f"x.{kind}")
    assert read_manifest(path) == clip.manifest
    with Image.open(path) as opened:
        assert opened.n_frames == 5
        assert opened.info["loop"] == 0
        shown = []
        for index in range(5):
            opened.seek(index)
            opened.load()
            shown.append(opened.info["duration"])
    assert shown == frame_durations(5, 8, unit=10 if kind == "gif" else 1)
    assert np.shape(read_frames(path)) == clip.frames.shape
    plain = replace(clip, video=Video(np.full((5, 32, 48, 3), 128, np.uint8), 8))
    assert abs(int(read_frames(plain.save(tmp_path / f"y.{kind}"))[0].mean()) - 128) <= 2


@pytest.mark.parametrize(("fps", "unit"), [(24, 10), (12, 10), (29.97, 10), (24, 1), (7, 1), (50, 10)])
def test_frames_of_an_animation_keep_the_rate(fps, unit):
    durations = frame_durations(144, fps, unit=unit)
    assert all(one % unit == 0 and one > 0 for one in durations)
    assert sum(durations) == pytest.approx(144_000 / fps, abs=unit / 2)


def test_a_gif_is_not_faster_than_browsers_show(make, tmp_path):
    fast = replace(make(2).request, fps=60)
    with pytest.raises(RequestError, match="at most 50"):
        check_ending(tmp_path / "x.gif", fast)
    check_ending(tmp_path / "x.webp", fast)
