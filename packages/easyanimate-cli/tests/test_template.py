"""The third-party plugin in templates/plugin: short, and complete enough to run from an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.video import read_video

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "templates" / "plugin"
PROMPT = "a green disc moves to the left"

pytestmark = pytest.mark.skipif(not TEMPLATE.is_dir(), reason="only in a checkout")


def run(*command, **environment):
    done = subprocess.run(  # noqa: S603
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UV_NO_PROGRESS": "1", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_video(path):
    frames = read_video(path).frames.astype(int)
    assert frames.shape == (16, 128, 128, 3)
    green = frames[..., 1] - frames[..., 0] > 100
    columns = [np.argwhere(frame)[:, 1].mean() for frame in green]
    assert columns[0] - columns[-1] == pytest.approx(64, abs=2)
    assert read_manifest(path).model == "disc"


@pytest.fixture
def installed(tmp_path):
    """A folder that makes the template look installed, from what its pyproject.toml declares."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    entries = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["easyanimate"].items())
    (facts / "entry_points.txt").write_text(f"[easyanimate]\n{entries}\n", encoding="utf-8")
    return os.pathsep.join([str(TEMPLATE / "src"), str(facts.parent)])


def test_has_less_than_40_lines():
    files = sorted((TEMPLATE / "src").rglob("*.py"))
    assert 0 < sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) < 40


def test_runs_by_its_key(installed):
    command = (sys.executable, "-c", "from easyanimate_cli.app import main; main()")
    out = run(*command, "run", "--model", "disc", "--prompt", PROMPT, PYTHONPATH=installed)
    check_video(Path(out.strip()))


def test_keeps_the_contracts(installed):
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEMPLATE / "tests", PYTHONPATH=installed)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
def test_runs_from_an_environment_of_its_own(tmp_path):
    environment = tmp_path / "environment"
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    run("uv", "venv", "--python", sys.executable, environment)
    packages = (ROOT / "packages" / "easyanimate-core", ROOT / "packages" / "easyanimate-cli", TEMPLATE)
    run("uv", "pip", "install", "--python", scripts / "python", *packages)
    listed = run("uv", "pip", "list", "--python", scripts / "python")
    assert "torch" not in listed
    assert "disc" in run(scripts / "ea", "models")
    out = run(scripts / "ea", "run", "--model", "disc", "--prompt", PROMPT, "-o", tmp_path / "disc.mp4")
    assert out.strip() == str(tmp_path / "disc.mp4")
    check_video(tmp_path / "disc.mp4")
    run(scripts / "ea", "rerun", tmp_path / "disc.mp4")
    check_video(tmp_path / "disc-rerun.mp4")
