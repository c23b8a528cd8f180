"""Every package installs and imports alone, with only what it declares."""

import os
import shutil
import subprocess

import pytest
from house import PACKAGES, ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(*sorted(sys.modules))
"""
TORCH_FREE = {"easyanimate-core", "easyanimate-cli", "easyanimate-data"}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")]


@pytest.mark.parametrize("name", [package.name for package in PACKAGES if package.name != "easyanimate"])
def test_every_module_imports_alone(name):
    package = next(package for package in PACKAGES if package.name == name)
    extras = ["--all-extras"] if name == "easyanimate-demo" else []
    command = ["uv", "run", "--quiet", "--isolated", "--no-dev", "--package", name, *extras, "python", "-c", IMPORT_ALL]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(  # noqa: S603 (own code)
        [*command, package.source.name], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    if name in TORCH_FREE:
        assert "torch" not in done.stdout.split()
