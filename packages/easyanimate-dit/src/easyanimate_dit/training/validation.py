"""Clips that are generated during training, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.video import write_image, write_video
from easyanimate_train.task import ValidationResult

from easyanimate_dit.sampling.request_pipeline import RequestPipeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from easyanimate_core.model import Model

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import ValidationConfig


def make_clips(
    pipeline: EasyAnimatePipeline, model: Model, config: ValidationConfig, settings: Mapping[str, Any], folder: Path
) -> ValidationResult:
    """Generate a clip for each prompt of the validation, as `ea run` would, and write them to a folder.

    Args:
        pipeline: The model as it is now.
        model: Model and weights that the training began with, whose defaults count.
        config: Prompts and seed.
        settings: Of the requests, in place of these defaults.
        folder: Is made when missing.
    """
    scheduler = pipeline.scheduler
    model = model.using(RequestPipeline(pipeline))
    folder.mkdir(parents=True, exist_ok=True)
    videos = {}
    for number, prompt in enumerate(config.prompts):
        clip = model.make(prompt, seed=config.seed, **settings)
        videos[prompt] = clip.frames
        # Without a manifest: these weights are in no folder.
        if len(clip.frames) == 1:
            write_image(folder / f"{number}.png", clip.frames[0])
        else:
            write_video(folder / f"{number}.mp4", clip.video)
    pipeline.scheduler = scheduler  # generation leaves its sampler there
    return ValidationResult(videos=videos, fps=model.defaults.fps)
