"""Boundaries of scenes, and the clips that they give by the original's rules."""

import pytest
from easyanimate_data.preparation.scene import Span, SplitSettings, detect_scenes, plan_clips

SETTINGS = SplitSettings()


def names(spans):
    return [(span.name, round(span.start, 3), round(span.end, 3)) for span in spans]


@pytest.mark.parametrize(
    ("bounds", "duration", "clips"),
    [
        # as the original splits the videos of test_golden.py
        ([0, 1.2, 3.04, 5.48, 7.48, 9.68, 9.96], 10.0, []),
        (
            [0, 1.2, 3.04, 5.48, 7.48, 9.68, 36.48],
            36.52,
            [("5_0", 9.68, 19.68), ("5_1", 19.68, 29.68), ("5_2", 29.68, 36.48)],
        ),
        ([], 5.28, [("0", 0, 5.28)]),
        ([], 20.0, [("0", 0, 10), ("1", 10, 20)]),
        ([], 22.9, [("0", 0, 10), ("1", 10, 20)]),  # a rest of less than three seconds goes
        ([], 2.9, []),
        ([0, 3, 7, 17, 30], 30.0, [("0", 0, 2.5), ("1", 3, 6.5), ("2", 7, 16.5), ("3_0", 17, 27), ("3_1", 27, 30)]),
    ],
)
def test_scenes_to_clips(bounds, duration, clips):
    assert names(plan_clips([float(bound) for bound in bounds], duration, SETTINGS)) == clips


def test_other_lengths():
    settings = SplitSettings(min_seconds=1, max_seconds=2)
    assert plan_clips([], 3.5, settings) == [Span("0", 0.0, 2.0), Span("1", 2.0, 3.5)]


def test_cuts_are_found_where_they_are(make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", [4, 2, 5])
    assert detect_scenes(video, SETTINGS) == [0.0, 4.0, 6.0, 11.0]
    assert detect_scenes(video, SETTINGS, compat=True) == [0.0, 4.0, 6.0, 10.9]  # the start of the last frame
    assert detect_scenes(make_video(tmp_path / "b.mp4", [4]), SETTINGS) == []
