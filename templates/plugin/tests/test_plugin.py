"""What every plugin keeps, from easyanimate-core, and what this one draws."""

import numpy as np
import pytest
from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_disc.plugin import make_video


class TestPlugin(PluginContract):
    module = "easyanimate_disc.plugin"


class TestPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self):
        return make_video

    @pytest.mark.parametrize(
        ("word", "axis", "sign"), [("right", 1, 1), ("left", 1, -1), ("down", 0, 1), ("up", 0, -1)]
    )
    def test_draws_the_colour_and_the_direction_of_the_prompt(self, word, axis, sign):
        frames = make_video(self.make_request(prompt=f"a blue disc moves {word}")).frames
        blue = frames[..., 2].astype(int) - frames[..., 0] > 100
        centres = [np.argwhere(frame).mean(axis=0)[axis] for frame in blue]
        assert all(np.diff(centres) * sign > 0)
