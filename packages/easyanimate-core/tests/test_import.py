import json
import subprocess
import sys

import pytest

LIGHT = ["easyanimate_core", "easyanimate_core.registry", "easyanimate_core.weights", "easyanimate_core.manifest"]


@pytest.mark.parametrize("module", LIGHT)
def test_nothing_heavy_is_imported(module):
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    heavy = {"numpy", "av", "PIL", "huggingface_hub", "safetensors", "torch", "psutil", "yaml", "pytest"}
    assert heavy.isdisjoint(json.loads(result.stdout))


def test_importing_takes_milliseconds():
    """Counted in modules, not measured: a busy machine takes its time."""
    code = "import sys; before = len(sys.modules); import easyanimate_core; print(len(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert int(done.stdout) < 150
