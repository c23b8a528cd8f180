"""What `open_model` makes in Python and what `ea run` makes are the same, and `ea rerun` repeats both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.model import open_model
from easyanimate_core.video import read_image, read_video

pytestmark = pytest.mark.usefixtures("media")

DIFFERENT = {"created", "timings"}


def describe(path):
    """The manifest without what differs from run to run."""
    manifest = read_manifest(Path(path))
    assert list(manifest.timings) == ["load", "denoise"]
    return {name: value for name, value in dataclasses.asdict(manifest).items() if name not in DIFFERENT}


_UPRIGHT = {"size": "64x48", "keep_pixels": False}


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ((), {}),
        (
            ("--frames", 8, "--size", "32x48", "--guidance-rescale", 0.7, "--seed", 3, "--image", "image.png"),
            {
                "num_frames": 8,
                "height": 32,
                "width": 48,
                "guidance_rescale": 0.7,
                "seed": 3,
                "start_images": "image.png",
            },
        ),
        (("--video", "video.mp4", "--mask", "mask.png"), {"video": "video.mp4", "mask": "mask.png"}),
        (
            ("--video", "video.mp4", "--mask", "video.mp4", "--video-start", 0.4, "--video-fps", 20, "--fit", "pad"),
            {"video": "video.mp4", "mask": "video.mp4", "video_start": 0.4, "video_fps": 20, "fit": "pad"},
        ),
        (("--size", "64 \u00d7 48", "--no-keep-pixels"), _UPRIGHT),
        (("--video", "video.mp4", "--steps", 2), {"video": Path("video.mp4"), "num_inference_steps": 2}),
    ],
)
def test_both_make_the_same_file(ea, words, settings):
    assert ea("run", "--model", "fake", "--prompt", "a circle", *words, "-o", "a.mp4").code == 0
    open_model("fake").make("a circle", **settings).save("b.mp4")
    assert describe("a.mp4") == describe("b.mp4")
    assert read_video(Path("a.mp4")).frames.tobytes() == read_video(Path("b.mp4")).frames.tobytes()
    assert "Identical" in ea("rerun", "b.mp4").err


def test_a_rerun_of_pixels_tells_why_it_cannot_be(ea, fake):
    open_model("fake").make("a circle", start_images=read_image(Path("image.png"))).save("x.mp4")
    result = ea("rerun", "x.mp4")
    assert result.code == 2
    assert "The image of this run was no file but pixels in memory" in result.err
    assert "give a path to `make`" in result.err
    assert len(fake.loads) == 1
