"""Clips that are generated during training."""

from dataclasses import replace

import numpy as np
from easyanimate_core import Defaults
from easyanimate_core.video import read_video
from easyanimate_dit.training.config import ValidationConfig
from easyanimate_dit.training.validation import make_clips

DEFAULTS = Defaults(
    num_frames=8, height=32, width=32, fps=8, num_inference_steps=2, guidance_scale=4.0, sampler="euler"
)


def test_clips_are_the_same_at_every_validation(build, tmp_path):
    pipeline, settings = build(), ValidationConfig(prompts=("a boat", "a bird"), seed=3)
    scheduler = pipeline.scheduler
    first, second = (make_clips(pipeline, settings, DEFAULTS, tmp_path / name) for name in ("first", "second"))
    assert list(first.videos) == ["a boat", "a bird"]
    assert first.fps == 8
    assert all(np.array_equal(clip, second.videos[prompt]) for prompt, clip in first.videos.items())
    assert not np.array_equal(*first.videos.values())
    assert pipeline.scheduler is scheduler
    assert read_video(tmp_path / "first" / "1.mp4").frames.shape == (8, 32, 32, 3)


def test_images_are_written_as_such(build, tmp_path):
    make_clips(build(), ValidationConfig(prompts=("a boat",)), replace(DEFAULTS, num_frames=1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
