"""Small raw videos with scenes, made in a moment."""

import importlib.util
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import Video
from easyanimate_core.video import write_video

FAKE = Path(__file__).parent / "fake"


@pytest.fixture
def fake_work(monkeypatch):
    """The module with work for tests, in worker processes too."""
    monkeypatch.syspath_prepend(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    yield __import__("easyanimate_fake_work")
    sys.modules.pop("easyanimate_fake_work", None)


def draw_scene(seconds, *, seed, fps=10, size=(64, 96), speed=4):
    """A textured square that wanders over a ground of one colour."""
    rng = np.random.default_rng(seed)
    ground, texture = rng.integers(0, 256, 3), rng.integers(0, 256, (24, 24, 3))
    count, (height, width) = round(seconds * fps), size
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = ground
    for t in range(count):
        x = speed * t % (width - 24)
        frames[t, 16:40, x : x + 24] = texture
    return frames


@pytest.fixture(scope="session")
def make_video():
    """Write a video of scenes (seconds each) that differ by their seed."""

    def make(path, scenes, *, seed=0, fps=10, **how):
        parts = [draw_scene(seconds, seed=100 * seed + k, fps=fps, **how) for k, seconds in enumerate(scenes)]
        return write_video(path, Video(np.concatenate(parts), fps))

    return make


@pytest.fixture(scope="session")
def raw(tmp_path_factory, make_video):
    """A folder of raw videos: cut and uncut, still, broken, empty, and files that are no videos."""
    folder = tmp_path_factory.mktemp("raw")
    make_video(folder / "uncut.mp4", [4])
    make_video(folder / "sub folder" / 'it\'s "cut" 视频.mp4', [4, 2, 12.5], seed=1)
    make_video(folder / "still.mp4", [4], seed=2, speed=0)
    make_video(folder / "short.mp4", [1], seed=3)
    make_video(folder / "n10.mp4", [3.5], seed=4)
    make_video(folder / "n2.mp4", [3.5], seed=5)
    (folder / "again.mp4").write_bytes((folder / "uncut.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"this is no video at all, whatever its name says")
    (folder / "empty.mov").touch()
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="session")
def small():
    """Settings for small raw videos."""
    return ["--set", "split.min_pixels=0", "--min", "motion=0.05"]


@pytest.fixture(scope="session")
def run_ea():
    """`run_ea("prepare", ...)`: a command `ea data ...` in this process; `run_ea.path` runs it in one of its own."""
    spec = importlib.util.spec_from_file_location("easyanimate_fake_cli", FAKE / "easyanimate_fake_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.run.path = FAKE / "easyanimate_fake_cli.py"
    return module.run


@pytest.fixture(scope="session")
def undisturbed(raw, small, run_ea, tmp_path_factory):
    """What a run that nobody disturbs makes of the raw videos."""
    out = tmp_path_factory.mktemp("undisturbed") / "dataset"
    run_ea("prepare", raw, "--out", out, *small)
    return out


class Stopped(BaseException):
    """What ends a run at a moment that a test chooses."""


@pytest.fixture
def stop_after():
    """`with stop_after(2): ...`: the run inside is ended, as by a kill, when it has noted so many outcomes."""
    from easyanimate_data.preparation.journal import Journal

    @contextmanager
    def stop(count):
        noted = []

        def add(journal, key, outcome):
            real(journal, key, outcome)
            noted.append(key)
            if len(noted) == count:
                raise Stopped

        real = Journal.add
        with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
            patch.setattr(Journal, "add", add)
            yield
        assert len(noted) == count

    return stop
