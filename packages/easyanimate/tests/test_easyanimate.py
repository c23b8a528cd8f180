"""`import easyanimate` is the short entrance and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import easyanimate
import easyanimate_core
import pytest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.model import open_model

FAKE = Path(__file__).parents[2] / "easyanimate-core" / "tests" / "fake"


def test_it_exports_three_names():
    assert sorted(easyanimate.__all__) == ["Video", "VideoRequest", "open_model"]
    assert sorted(name for name in vars(easyanimate) if not name.startswith("_")) == sorted(easyanimate.__all__)
    assert easyanimate.open_model is open_model
    assert easyanimate.Video is easyanimate_core.Video
    assert easyanimate.VideoRequest is easyanimate_core.VideoRequest


def test_importing_it_brings_nothing_heavy():
    code = "import json, sys; import easyanimate; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    heavy = {"torch", "diffusers", "transformers", "numpy", "av", "PIL", "huggingface_hub", "easyanimate_cli"}
    assert heavy.isdisjoint(json.loads(result.stdout))


@pytest.fixture
def _fake_plugin(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_fake_plugin")
def test_it_makes_a_clip():
    model = easyanimate.open_model("fake")
    clip = model.make("a red circle moves to the right", seed=1, num_frames=16)
    assert isinstance(clip.video, easyanimate.Video)
    assert isinstance(clip.request, easyanimate.VideoRequest)
    manifest = read_manifest(clip.save("circle.mp4"))
    assert (manifest.model, manifest.seed, manifest.request["num_frames"]) == ("fake", 1, 16)
