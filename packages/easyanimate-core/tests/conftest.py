"""The fake plugin of `fake/`: models without PyTorch. The tests of easyanimate-cli and of easyanimate use it, too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import Video
from easyanimate_core.video import write_image, write_video

FAKE = Path(__file__).parent / "fake"


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The module of the fake plugin, installed, with what it has loaded and was asked for; in an empty folder."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EA_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in sys.modules if name.startswith("easyanimate_fake")]:
        del sys.modules[name]
    return importlib.import_module("easyanimate_fake")


@pytest.fixture
def media():
    """Files to start from: image.png, mask.png, video.mp4 (20 frames at 10 fps)."""
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8)
    write_image(Path("image.png"), frames[0])
    mask = np.zeros((32, 48, 3), np.uint8)
    mask[:, :24] = 255
    write_image(Path("mask.png"), mask)
    write_video(Path("video.mp4"), Video(frames, 10))
