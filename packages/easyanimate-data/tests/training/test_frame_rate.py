import json
import logging

import numpy as np
import pytest
from easyanimate_core import RequestError, Video
from easyanimate_core.dataset import BatchRule
from easyanimate_core.video import write_video
from easyanimate_data.training.entry import Entry
from easyanimate_data.training.frame_rate import warn_of_rates
from easyanimate_data.training.training_set import TrainingSet

SPEED = 60
"""Pixels that a bar moves in a second."""

RULE = {"video_size": 128, "num_frames": 16, "chunk_frames": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same two seconds of a moving bar, taken at four rates."""
    folder = tmp_path_factory.mktemp("rates")
    rows = []
    for fps in (12, 24, 60, 120):
        frames = np.zeros((fps * 2, 64, 256, 3), np.uint8)
        for index, frame in enumerate(frames):
            left = 20 + round(index * SPEED / fps)
            frame[:, left : left + 10] = 255
        write_video(folder / f"{fps}.mp4", Video(frames, fps))
        rows.append({"file_path": f"{fps}.mp4", "text": str(fps), "type": "video"})
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def measure_speeds(folder, **options):
    """Pixels that the bar moves per frame, by clip."""
    batches = TrainingSet(folder / "data.json").batched(BatchRule(**RULE, **options), seed=0)
    speeds = {}
    for batch in batches.plan(0):
        loaded = batches.load(batch, [0])
        middles = [np.flatnonzero(frame[frame.shape[0] // 2, :, 0] > 128).mean() for frame in loaded["frames"][0]]
        scale = loaded["frames"].shape[2] / 64
        speeds[loaded["text"][0]] = (middles[-1] - middles[0]) / (len(middles) - 1) / scale
    return speeds


@pytest.mark.parametrize("fps", [12, 20, 24])
def test_motion_has_one_speed_at_a_common_rate(folder, fps):
    speeds = measure_speeds(folder, fps=fps)
    assert speeds.keys() == {"12", "24", "60", "120"}
    for speed in speeds.values():
        assert speed == pytest.approx(SPEED / fps, rel=0.08)


def test_without_a_rate_each_clip_keeps_its_own_and_that_is_told_once(folder, caplog):
    with caplog.at_level(logging.WARNING):
        speeds = measure_speeds(folder)
    assert speeds["12"] == pytest.approx(SPEED / 12, rel=0.08)
    assert speeds["60"] == pytest.approx(SPEED / 60, rel=0.08)
    (record,) = caplog.records
    assert "12 (1), 24 (1), 60 (1), 120 (1)" in record.getMessage()
    assert "data.fps" in record.getMessage()


def make_entries(*rates):
    return [Entry(row, "a.mp4", "", "video", 64, 64, fps) for row, fps in enumerate(rates)]


def test_what_is_said_of_rates():
    assert warn_of_rates(make_entries(24, 23.976, 24, None), None) is None
    assert warn_of_rates([Entry(0, "a.png", "", "image", 64, 64)], None) is None
    assert "24 (2), 30 (1)" in (warn_of_rates(make_entries(30, 24, 24), None) or "")
    assert warn_of_rates(make_entries(30, 24, 60), 24) is None
    assert "1 clips have fewer frames per second (from 12)" in (warn_of_rates(make_entries(12, 24, 60), 24) or "")


def test_a_row_may_tell_its_rate(folder, tmp_path):
    row = {"file_path": str(folder / "12.mp4"), "text": "", "type": "video", "fps": 24}
    (tmp_path / "data.json").write_text(json.dumps([row, {**row, "fps": "fast"}]), encoding="utf-8")
    training_set = TrainingSet(tmp_path / "data.json")
    assert [entry.fps for entry in training_set.entries] == [24]
    assert "fps 'fast' is no frame rate" in training_set.skipped[0]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e300])
def test_rates_that_cannot_be(fps):
    with pytest.raises(RequestError, match=r"data\.fps"):
        BatchRule(fps=fps)
