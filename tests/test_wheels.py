"""What is published works: built wheels install together in a clean environment, and `ea run` works from them."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from easyanimate_core.video import read_video
from house import PACKAGES, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")]


def run(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(  # noqa: S603 (own code)
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    run("uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder, cwd=ROOT)
    return sorted(folder.glob("*.whl"))


def test_every_package_has_a_wheel_with_its_code_and_nothing_else(wheels):
    assert [path.name.split("-")[0] for path in wheels] == sorted(package.source.name for package in PACKAGES)
    for package, path in zip(sorted(PACKAGES, key=lambda one: one.source.name), wheels, strict=True):
        names = [name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name]
        assert all(name.startswith(f"{package.source.name}/") for name in names)
        assert not [name for name in names if "tests" in Path(name).parts or name.endswith(".pyc")]
        expected = {file.relative_to(package.source.parent).as_posix() for file in package.modules()}
        assert expected <= set(names)


def test_the_wheels_run_together(wheels, tmp_path):
    environment = tmp_path / "environment"
    run("uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=tmp_path)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    run("uv", "pip", "install", "--quiet", "--python", scripts / "python", *wheels, cwd=tmp_path)
    assert "v4" in run(scripts / "ea", "models", cwd=tmp_path)
    prompt = "a red circle moves to the right"
    out = run(scripts / "ea", "run", "--model", "v4", "--weights", "demo", "--prompt", prompt, cwd=tmp_path)
    assert read_video(tmp_path / out.strip()).frames.shape[0] > 1
    where = run(scripts / "python", "-c", "import easyanimate_v4; print(easyanimate_v4.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
