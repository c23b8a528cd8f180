"""Runs `ea` in this process, in an empty folder, with the fake plugin of easyanimate-core's tests installed."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from easyanimate_cli.app import main
from easyanimate_core import Video
from easyanimate_core.video import write_image, write_video

FAKE = Path(__file__).parents[2] / "easyanimate-core" / "tests" / "fake"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _fake_plugin(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EA_DEBUG", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in sys.modules if name.startswith("easyanimate_fake")]:
        del sys.modules[name]


@pytest.fixture
def fake():
    """The module of the fake plugin, with what it has loaded and was asked for."""
    return importlib.import_module("easyanimate_fake")


@pytest.fixture
def ea(capsys):
    """Call it as `ea("run", "--model", "fake")`."""

    def call(*args):
        with pytest.raises(SystemExit) as leaving:
            main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Result(leaving.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def media():
    """Files to start from: image.png, mask.png, video.mp4 (20 frames at 10 fps), text.png (no image)."""
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8)
    write_image(Path("image.png"), frames[0])
    write_image(
        Path("mask.png"),
        np.where(np.arange(48)[:, None] < 24, np.uint8(255), np.uint8(0)).repeat(3, 1)[None].repeat(32, 0),
    )
    write_video(Path("video.mp4"), Video(frames, 10))
    Path("text.png").write_text("not an image", encoding="utf-8")
