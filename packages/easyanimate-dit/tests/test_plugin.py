"""What this package offers to `ea`."""

from easyanimate_core.testing import PluginContract


class TestPlugin(PluginContract):
    module = "easyanimate_dit.plugin"

    def test_offers_samplers_like_any_other_plugin(self):
        assert list(self.load().schedulers()) == ["euler", "euler_a", "dpm++", "pndm", "ddim", "lcm"]
