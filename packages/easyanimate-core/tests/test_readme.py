import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.registry import load_plugins
from easyanimate_core.testing import PluginContract

README = Path(__file__).parents[1] / "README.md"


def test_the_plugin_of_the_readme_works(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    (tmp_path / "plugin_of_readme.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    contract = PluginContract()
    contract.module = "plugin_of_readme"
    for name in dir(contract):
        if name.startswith("test_"):
            getattr(contract, name)()
    spec = load_plugins([EntryPoint("noise", "plugin_of_readme", "easyanimate")]).model("noise")
    request = VideoRequest(
        prompt="anything",
        num_frames=2,
        height=16,
        width=16,
        fps=8,
        num_inference_steps=1,
        guidance_scale=1,
        sampler="euler",
    )
    assert spec.load(LoadOptions())(request).frames.shape == (2, 16, 16, 3)


@pytest.mark.usefixtures("fake")
def test_the_example_of_the_readme_works():
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    assert '"v4"' in code
    exec(code.replace('"v4"', '"fake"'), {})  # noqa: S102 (our own)
    assert read_manifest(Path("circle.mp4")).seed == 1


def test_the_readme_names_every_module():
    source = README.parent / "src" / "easyanimate_core"
    modules = {path.stem for path in [*source.glob("*.py"), *source.glob("*/")]} - {"__init__", "__pycache__"}
    named = set(re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named == modules
