"""Clips that are generated during training."""

import numpy as np
import pytest
import tiny_dit
from easyanimate_core import Defaults, LoadOptions, ModelSpec, Task
from easyanimate_core.model import Model
from easyanimate_core.video import read_video
from easyanimate_core.weights import FoundWeights
from easyanimate_dit.sampling.request_pipeline import RequestPipeline
from easyanimate_dit.training import command, run, task
from easyanimate_dit.training.config import ValidationConfig
from easyanimate_dit.training.validation import make_clips
from easyanimate_train.cycled import CycledBatches

DEFAULTS = Defaults(num_frames=8, height=32, width=32, fps=8, num_inference_steps=2, sampler="euler")


@pytest.fixture
def make(build):
    """Makes the clips of a validation with a model that has `DEFAULTS`; gives them and the pipeline."""
    spec = ModelSpec(
        key="tiny", summary="Small.", load=build, tasks=tuple(Task), defaults=DEFAULTS, shapes=tiny_dit.SHAPES
    )
    model = Model(spec, FoundWeights(None, "none"), LoadOptions())

    def run(folder, *prompts, **settings):
        pipeline = build()
        scheduler = pipeline.scheduler
        config = ValidationConfig(prompts=prompts, seed=3)
        result = make_clips(pipeline, model, config, settings, folder)
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


def test_the_command_opens_the_weights_once(build, tmp_path, monkeypatch):
    """Validation, too, works with what was opened: the folder of the weights may be gone by then."""
    spec = ModelSpec(
        key="tiny",
        summary="Small.",
        load=lambda _: RequestPipeline(build()),
        tasks=tuple(Task),
        defaults=DEFAULTS,
        shapes=tiny_dit.SHAPES,
    )
    opened = []

    def open_model(key, **_):
        opened.append(key)
        return Model(spec, FoundWeights(None, "none"), LoadOptions())

    monkeypatch.setattr(command, "open_model", open_model)
    monkeypatch.setattr(task, "open_model", open_model)
    clips = [{"frames": np.zeros((8, 32, 32, 3), np.uint8), "text": "a boat"}] * 4
    monkeypatch.setattr(run, "open_dataset", lambda config, _: CycledBatches(clips, config.data, seed=config.seed))
    out = tmp_path / "run"
    options = {
        "model": "tiny", "out": str(out), "max_steps": "2", "validate_every": "1", "validation__prompts": ["a boat"],
        "data__path": str(tmp_path), "data__batches": "[[2, 8]]", "data__passes": "1",
        "mixed_precision": "no", "tracker": "none",
    }  # fmt: skip
    command.train_transformer(config=None, plan=False, resume=False, launch_words=None, **options)
    assert opened == ["tiny"]
    assert len(list((out / "validation").rglob("0.mp4"))) == 2
