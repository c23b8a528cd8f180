"""The demo weights are offered by name, small, whole, and of the model that they are for."""

import json

import pytest
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import Defaults
from easyanimate_core.testing import PluginContract
from easyanimate_core.weights import read_defaults
from easyanimate_demo.command import DEFAULTS
from easyanimate_demo.plugin import ea_weights

SOURCES = list(ea_weights())


class TestPlugin(PluginContract):
    module = "easyanimate_demo.plugin"


def test_the_command_is_offered():
    assert load_plugins().command("train", "demo").load().__name__ == "train_demo"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.model}-{source.name}")
class TestWeights:
    def test_are_whole(self, source):
        load_plugins().model(source.model).check_weights(source.path)

    def test_are_small_enough_to_ship(self, source):
        sizes = [file.stat().st_size for file in source.path.rglob("*") if file.is_file()]
        assert 0 < sum(sizes) <= 16_000_000

    def test_bring_the_defaults_that_they_were_trained_for(self, source):
        assert json.loads((source.path / "easyanimate.json").read_text(encoding="utf-8")) == {"defaults": DEFAULTS}
        assert read_defaults(source.path, Defaults()) == Defaults(**DEFAULTS)
