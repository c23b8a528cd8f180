"""Clips that are generated during training."""

import numpy as np
import pytest
import tiny_dit
from easyanimate_core import Defaults, LoadOptions, ModelSpec, Task
from easyanimate_core.model import Model
from easyanimate_core.video import read_video
from easyanimate_core.weights import FoundWeights
from easyanimate_dit.training import validation
from easyanimate_dit.training.config import ValidationConfig
from easyanimate_dit.training.validation import make_clips

DEFAULTS = Defaults(num_frames=8, height=32, width=32, fps=8, num_inference_steps=2, sampler="euler")


@pytest.fixture
def make(build, configure, monkeypatch):
    """Makes the clips of a validation with a model that has `DEFAULTS`; gives them and the pipeline."""
    spec = ModelSpec(
        key="tiny", summary="Small.", load=build, tasks=tuple(Task), defaults=DEFAULTS, shapes=tiny_dit.SHAPES
    )
    model = Model(spec, FoundWeights(None, "none"), LoadOptions())
    monkeypatch.setattr(validation, "open_model", lambda *_, **__: model)

    def run(folder, *prompts, **settings):
        pipeline = build()
        scheduler = pipeline.scheduler
        config = configure(validation=ValidationConfig(prompts=prompts, seed=3))
        result = make_clips(pipeline, config, settings, folder)
        assert pipeline.scheduler is scheduler
        return result

    return run


def test_clips_are_the_same_at_every_validation(make, tmp_path):
    first, second = (make(tmp_path / name, "a boat", "a bird") for name in ("first", "second"))
    assert list(first.videos) == ["a boat", "a bird"]
    assert first.fps == 8
    assert all(np.array_equal(clip, second.videos[prompt]) for prompt, clip in first.videos.items())
    assert not np.array_equal(*first.videos.values())
    assert read_video(tmp_path / "first" / "1.mp4").frames.shape == (8, 32, 32, 3)


def test_settings_come_before_defaults_and_images_are_written_as_such(make, tmp_path):
    make(tmp_path, "a boat", num_frames=1)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
