"""Experiment trackers that draw the log: TensorBoard, trackio or Weights & Biases, through accelerate."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from easyanimate_core.errors import RequestError
from easyanimate_core.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from easyanimate_train.config import RunConfig

FOLDER = "tracker"


class Tracker:
    """A tracker that draws nothing, and the base of the others."""

    def __enter__(self) -> Self:
        """Start tracking."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish writing."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step."""

    def log_videos(self, videos: Mapping[str, np.ndarray[Any, Any]], step: int, fps: float) -> None:
        """Log clips by name, uint8 [T, H, W, 3]."""


class _Accelerate(Tracker):
    """One of accelerate's trackers."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        tracker.start()

    def __exit__(self, *_: object) -> None:
        self._tracker.finish()

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._tracker.log(dict(values), step=step)


class _TensorBoard(_Accelerate):
    def log_videos(self, videos: Mapping[str, np.ndarray[Any, Any]], step: int, fps: float) -> None:
        del fps  # frames side by side: TensorBoard's own videos are GIFs of another package
        for name, frames in videos.items():
            self._tracker.writer.add_image(name, _lay_out(frames), step, dataformats="HWC")


class _WeightsAndBiases(_Accelerate):
    def log_videos(self, videos: Mapping[str, np.ndarray[Any, Any]], step: int, fps: float) -> None:
        wandb = import_module("wandb")  # an extra

        clips = {name: wandb.Video(frames.transpose(0, 3, 1, 2), fps=int(fps)) for name, frames in videos.items()}
        self._tracker.log(clips, step=step)


def open_tracker(config: RunConfig, step: int, *, is_main: bool) -> Tracker:
    """Open the tracker of a run that continues after `step`.

    Raises:
        RequestError: The tracker needs a package that is not installed.
    """
    if not is_main or config.tracker == "none":
        return Tracker()
    try:
        return _open(config, step)
    except ImportError as error:
        raise RequestError(
            "The tracker is not installed.",
            received=f"tracker {config.tracker}: {error}",
            fix=f"pip install {config.tracker}, or choose tracker: none",
        ) from error


def _open(config: RunConfig, step: int) -> Tracker:
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    settings = json.dumps(dataclasses.asdict(config), default=str, indent=1)
    if config.tracker == "tensorboard":
        import tensorboard  # noqa: F401 (told at once when it is missing)

        # Points after the step were drawn before the run was killed.
        board: Any = TensorBoardTracker(FOLDER, config.out, purge_step=step + 1)
        opened: _Accelerate = _TensorBoard(board)
        board.writer.add_text("settings", f"```\n{settings}\n```")
        return opened
    name = config.out.name
    if config.tracker == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(config.out / FOLDER))
        trackio: Any = TrackioTracker(PROJECT, name=name, resume="allow")
        opened = _Accelerate(trackio)
        trackio.store_init_configuration(json.loads(settings))
        return opened
    wandb: Any = WandBTracker(PROJECT, id=name, resume="allow", dir=str(config.out))
    opened = _WeightsAndBiases(wandb)
    wandb.store_init_configuration(json.loads(settings))
    return opened


def _lay_out(frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Up to eight frames side by side: [H, N W, 3]."""
    import numpy as np

    chosen = np.linspace(0, len(frames) - 1, min(len(frames), 8)).round().astype(int)
    return np.concatenate(list(frames[chosen]), axis=1)
