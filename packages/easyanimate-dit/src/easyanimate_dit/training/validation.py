"""Clips that are generated during training, to look at."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.registry import load_plugins
from easyanimate_core.request import VideoRequest
from easyanimate_core.video import write_image, write_video
from easyanimate_core.weights import read_defaults
from easyanimate_train.task import ValidationResult

from easyanimate_dit.sampling.request_pipeline import RequestPipeline

if TYPE_CHECKING:
    from easyanimate_core.request import Defaults

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig, ValidationConfig


def make_clips(
    pipeline: EasyAnimatePipeline, validation: ValidationConfig, defaults: Defaults, folder: Path
) -> ValidationResult:
    """Generate a clip for each prompt, as `ea run` would with these defaults, and write them to a folder."""
    scheduler, run = pipeline.scheduler, RequestPipeline(pipeline)
    folder.mkdir(parents=True, exist_ok=True)
    videos = {}
    for number, prompt in enumerate(validation.prompts):
        request = VideoRequest(prompt=prompt, seed=validation.seed, **asdict(defaults))
        video = run(request)
        videos[prompt] = video.frames
        if len(video.frames) == 1:
            write_image(folder / f"{number}.png", video.frames[0])
        else:
            write_video(folder / f"{number}.mp4", video)
    pipeline.scheduler = scheduler  # generation leaves its sampler there
    return ValidationResult(videos=videos, fps=defaults.fps)


def find_defaults(config: DitTrainingConfig) -> Defaults:
    """The defaults that `ea run` has for the weights of a run."""
    plugins = load_plugins()
    spec = plugins.model(config.model)
    source = plugins.weights(config.model).get(config.weights)
    defaults = (source and source.defaults) or spec.defaults
    folder = (source and source.path) or Path(config.weights)
    return read_defaults(folder, defaults) if folder.is_dir() else defaults
