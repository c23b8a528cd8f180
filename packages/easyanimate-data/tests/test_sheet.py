import numpy as np
import pytest
from easyanimate_data.sheet import GAP, GROUND, TITLE_HEIGHT, contact_sheet


def test_sheet_shows_every_clip_and_title():
    videos = [np.full((16, 32, 48, 3), 50 * (index + 1), dtype=np.uint8) for index in range(4)]
    sheet = contact_sheet(videos, ["a title"] * 4, num_columns=3, num_frames=2)
    strip_width = 2 * 48 + 2
    assert sheet.shape == (2 * (32 + TITLE_HEIGHT + GAP) + GAP, 3 * (strip_width + GAP) + GAP, 3)
    assert sheet.dtype == np.uint8
    for level in (50, 100, 150, 200):
        assert (sheet == level).all(axis=-1).sum() >= 2 * 32 * 48
    title = sheet[GAP : GAP + TITLE_HEIGHT, GAP : GAP + strip_width]
    assert (title != GROUND).any()


def test_first_and_last_frames_are_shown():
    video = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.full((1, 8, 8, 3), 10, dtype=np.uint8)
    sheet = contact_sheet([video], [""], num_frames=3)
    levels = [int(sheet[-GAP - 1, GAP + column * 10, 0]) for column in range(3)]
    assert levels[0] == 0
    assert levels[2] == 150


def test_titles_must_match():
    with pytest.raises(ValueError, match="zip"):
        contact_sheet([np.zeros((1, 8, 8, 3), dtype=np.uint8)], [])
    with pytest.raises(ValueError, match="at least one clip"):
        contact_sheet([], [])
