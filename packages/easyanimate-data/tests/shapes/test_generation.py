import json

import pytest
from easyanimate_core import MediaError
from easyanimate_core.video import read_video
from easyanimate_data.shapes.clip import ShapesClips
from easyanimate_data.shapes.generation import DATASET_NAME, SETTINGS_NAME, ShapesSettings, write_shapes
from easyanimate_data.shapes.judge import judge_clip
from easyanimate_data.training.training_set import TrainingSet

SETTINGS = ShapesSettings(count=3, seed=4)


def test_written_clips_are_those_of_the_generator(tmp_path):
    path = write_shapes(tmp_path / "new", SETTINGS)
    clips = ShapesClips(3, 4)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [row["text"] for row in rows] == list(clips.captions)
    assert {row["type"] for row in rows} == {"video"}
    for index, row in enumerate(rows):
        video = read_video(path.parent / row["file_path"])
        assert video.fps == SETTINGS.fps
        assert abs(video.frames.astype(float) - clips.frames(index)).mean() < 4
        assert judge_clip(video.frames).agrees(clips.combination(index))
    assert [entry.text for entry in TrainingSet(path).entries] == list(clips.captions)


def test_outlined_clips_are_written(tmp_path):
    path = write_shapes(tmp_path, ShapesSettings(count=2, seed=4, style="outlined"))
    verdicts = [judge_clip(read_video(clip).frames) for clip in sorted(path.parent.glob("clips/*"))]
    assert [verdict.style for verdict in verdicts] == ["outlined", "outlined"]


def test_interrupted_run_goes_on(tmp_path):
    def stop(done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path, SETTINGS, on_clip=stop)
    assert not (tmp_path / DATASET_NAME).exists()
    first = tmp_path / "clips" / "000000.mp4"
    before = first.stat().st_mtime_ns
    seen = []
    write_shapes(tmp_path, SETTINGS, on_clip=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert first.stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([DATASET_NAME, SETTINGS_NAME, "clips"])
    assert len(list((tmp_path / "clips").iterdir())) == 3


def test_other_settings_are_refused(tmp_path):
    write_shapes(tmp_path, ShapesSettings(count=1))
    with pytest.raises(MediaError, match="other settings"):
        write_shapes(tmp_path, ShapesSettings(count=1, seed=1))


def test_foreign_folders_are_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(MediaError, match="not empty"):
        write_shapes(tmp_path, SETTINGS)
    with pytest.raises(MediaError, match="not empty"):
        write_shapes(tmp_path / "mine.txt", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
