"""The command `ea train vae`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

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
    from easyanimate_train.command import run_training

    def prepare(config: VaeTrainingConfig) -> Any:
        from easyanimate_vae.training.run import prepare_task

        return prepare_task(config)

    launching = None if launch_words is None else partial(launch, MODULE, _TRAINER, launch_words)
    use = f"put {settings.out / 'weights' / 'vae'} in the place of vae/ in a folder of weights, and give `ea run` that"
    run_training(settings, prepare, resume=resume, plan=plan, launching=launching, use=use)


train = SettingsReader(VaeTrainingConfig, _find_defaults).command(_train, EXTRA_OPTIONS, lacking=LACKING)
