"""The contract suites pass for a good plugin and pipeline, and each of their tests fails for a bad one."""

import sys
from contextlib import nullcontext

import numpy as np
import pytest
from easyanimate_core import ModelSpec, Progress, RequestError, Video
from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_core.testing.plugin import check_defaults

PLUGIN = """
from easyanimate_core import Defaults, ModelSpec, ShapeRule, hookimpl
{extra}

@hookimpl
def ea_models():
    yield ModelSpec(key="tiny", summary="Tiny.", load=print, shapes=ShapeRule(), defaults=Defaults(height={height}))
"""


def make_pipeline(change=None):
    def run(request):
        if request.on_progress and change != "silent":
            steps = (1, 3) if change == "wrong total" else (1, 2)
            for step in steps:
                request.on_progress(Progress("denoise", step, 2))
        seed = 0 if change == "ignores seed" else request.seed
        generator = np.random.default_rng(None if change == "random" else seed)
        width = request.width + (change == "wrong size")
        shape = (request.num_frames, request.height, width, 3)
        return Video(generator.integers(0, 255, shape, np.uint8), request.fps + (change == "wrong rate"))

    return run


class TestGoodPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self):
        return make_pipeline()


@pytest.mark.parametrize(
    ("change", "test"),
    [
        ("wrong size", "test_makes_what_was_asked_for"),
        ("wrong rate", "test_makes_what_was_asked_for"),
        ("random", "test_is_deterministic"),
        ("ignores seed", "test_seed_changes_the_result"),
        ("silent", "test_tells_its_progress"),
        ("wrong total", "test_tells_its_progress"),
        ("silent", "test_stops_when_progress_raises"),
    ],
)
def test_a_bad_pipeline_is_found_out(change, test):
    with pytest.raises(AssertionError):
        getattr(PipelineContract(), test)(make_pipeline(change))


@pytest.fixture
def contract(tmp_path, monkeypatch):
    """The plugin contract for a module with this content."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(extra="", height=384, content=PLUGIN):
        (tmp_path / "tested_plugin.py").write_text(content.format(extra=extra, height=height))
        contract = PluginContract()
        contract.module = "tested_plugin"
        return contract

    yield make
    sys.modules.pop("tested_plugin", None)


def test_a_good_plugin_passes(contract):
    tested = contract()
    names = [name for name in dir(tested) if name.startswith("test_")]
    assert len(names) == 5
    for name in names:
        getattr(tested, name)()


@pytest.mark.parametrize(
    ("samplers", "known"), [((), True), ("registered", True), (("euler",), True), (("ddim",), False)]
)
def test_the_default_sampler_is_one_that_the_model_accepts(samplers, known):
    spec = ModelSpec(key="tiny", summary="Tiny.", load=print, samplers=samplers)
    with nullcontext() if known else pytest.raises(AssertionError, match="tiny: euler"):
        check_defaults(spec)


@pytest.mark.parametrize(
    ("options", "test"),
    [
        ({"extra": "import no_such_library"}, "test_is_taken_in_without_complaint"),
        ({"extra": "def ea_modles(): pass"}, "test_is_taken_in_without_complaint"),
        ({"extra": "import numpy"}, "test_imports_nothing_heavy"),
        ({"height": 385}, "test_defaults_follow_the_shape_rule"),
        ({"content": ""}, "test_offers_something"),
        ({"content": PLUGIN.replace('"Tiny."', '""')}, "test_specs_say_what_they_are"),
    ],
)
def test_a_bad_plugin_is_found_out(contract, options, test):
    with pytest.raises((AssertionError, RequestError)):
        getattr(contract(**options), test)()
