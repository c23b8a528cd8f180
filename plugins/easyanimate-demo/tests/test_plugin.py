"""What the plugin offers is found, and weighs nothing until it is used."""

from easyanimate_core.registry import load_plugins
from easyanimate_core.testing import PluginContract


class TestPlugin(PluginContract):
    module = "easyanimate_demo.plugin"


def test_the_command_is_offered():
    assert load_plugins().command("train", "demo").load().__name__ == "train_demo"
