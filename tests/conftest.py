"""What the tests across packages share."""

import sys
from pathlib import Path

import pytest
from easyanimate_demo.shipped import WEIGHTS

# The modules beside the tests (house.py, file_tree.py) are scripts, not packages.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def demo_folder(tmp_path, monkeypatch):
    """An empty working folder on a machine that has the demo weights and no others."""
    assert (WEIGHTS / "v4" / "model_index.json").is_file(), "the demo weights are missing: uv run ea train demo"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-downloads"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
