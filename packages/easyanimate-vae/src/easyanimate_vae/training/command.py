"""The command `ea train vae`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.display import PhaseDisplay
from easyanimate_core.options import SettingsReader
from easyanimate_core.registry import load_plugins
from easyanimate_core.weights_folder import WeightsFolder
from easyanimate_train.launch import EXTRA_OPTIONS, LACKING, launch

from easyanimate_vae.training.config import VaeTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULE = "easyanimate_vae.train"
_TRAINER = "vae"


def _find_defaults(settings: VaeTrainingConfig) -> Mapping[str, Any]:
    """Defaults of the settings for the VAE of a model version and for its weights."""
    from easyanimate_vae.training.start import find_start

    if settings.version is None:
        return {}
    usual = load_plugins().model(settings.version).training.get(_TRAINER, {})
    folder = find_start(settings)
    return {**usual, **(WeightsFolder(folder).training(_TRAINER) if folder else {})}


def _train(settings: VaeTrainingConfig, *, resume: bool, plan: bool, launch_words: str | None) -> None:
    """Train the video VAE."""
    if launch_words is not None:
        launch(MODULE, _TRAINER, launch_words)
        return
    from easyanimate_train.loop import train as run_loop
    from easyanimate_train.plan import print_plan

    from easyanimate_vae.training.run import prepare_task

    with PhaseDisplay() as display:
        task, dataset = prepare_task(settings)
        if plan:
            print_plan(task, settings, dataset)
            return
        trained = run_loop(task, settings, dataset, resume=resume, on_progress=display.show)
    print(trained)  # noqa: T201 (the folder of the weights, for scripts)


train = SettingsReader(VaeTrainingConfig, _find_defaults).command(_train, EXTRA_OPTIONS, lacking=LACKING)
