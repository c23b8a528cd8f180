"""The VAE that training starts from: fresh, from a folder, of a model version, or from an image VAE."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.registry import load_plugins
from easyanimate_core.target import Target
from easyanimate_core.weights import find_weights
from easyanimate_torch.checkpoint import load_model
from easyanimate_train.memory import enable_gradient_checkpointing

from easyanimate_vae import TRAINING_EXTRAS
from easyanimate_vae.training.config import KINDS
from easyanimate_vae.training.inflate import inflate_image_vae
from easyanimate_vae.training.initial import start_as_identity, start_frames_as_identity

if TYPE_CHECKING:
    from easyanimate_vae.training.config import VaeTrainingConfig

VAE = "vae"
"""Folder of the VAE in a folder of weights."""

_FROZEN = {"all": (), "decoder": ("encoder", "quant_conv"), "encoder": ("decoder", "post_quant_conv")}
"""Modules that are frozen, by the setting `trainable`."""


def find_start(config: VaeTrainingConfig) -> Path | None:
    """The folder that `version` and `weights` name, of a model or of a VAE alone; None for fresh weights."""
    if config.version is None:
        return None if config.weights is None else Path(config.weights)
    text = config.weights or "auto"
    plugins = load_plugins()
    if text not in plugins.weights(config.version) and Path(text).is_dir():
        return Path(text)  # only its VAE is needed
    found = find_weights(text, plugins.model(config.version), plugins).folder
    return None if found is None else found.path


def build_vae(config: VaeTrainingConfig) -> Any:
    """Build the VAE that training starts from, in float32 on the CPU; fresh weights are drawn from the seed.

    Raises:
        RequestError: `model` has a setting that the VAE does not have.
        WeightsError: Weights are missing, damaged, or do not fit.
    """
    torch.manual_seed(config.seed)
    folder = find_start(config)
    model_class = Target(KINDS.get(config.kind, config.kind)).resolve()
    _refuse_unknown(config.model, model_class)
    if folder is not None:
        vae = load_model(
            model_class,
            folder / VAE if (folder / VAE).is_dir() else folder,
            dtype=torch.float32,
            changes=config.model,
            known_extras=TRAINING_EXTRAS,
        )
    else:
        vae = model_class(**config.model)
        if config.image_weights is not None:
            inflate_image_vae(vae, config.image_weights, prefer=config.image_prefer)
        elif config.kind == "video":
            start_as_identity(vae)
        elif config.kind == "frames":
            start_frames_as_identity(vae)
    _freeze(vae, config.trainable)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(vae)
    return vae.train()


def _freeze(vae: Any, trainable: str) -> None:
    """Freeze the half that is not trained; a VAE of your own may have no convolutions around its latents."""
    frozen = _FROZEN[trainable]
    if frozen and not hasattr(vae, frozen[0]):
        raise RequestError(
            "The VAE cannot be trained in part.",
            received=f"trainable {trainable}, and a {type(vae).__name__} without {frozen[0]}",
            expected="a VAE with the modules encoder and decoder",
            fix="set trainable to all",
        )
    for part in frozen:
        if hasattr(vae, part):
            getattr(vae, part).requires_grad_(requires_grad=False)


def _refuse_unknown(settings: dict[str, Any], model_class: Any) -> None:
    known = list(inspect.signature(model_class.__init__).parameters)[1:]
    for name in settings:
        if name not in known:
            raise RequestError(
                f"Unknown setting model.{name}.",
                received=name,
                expected=", ".join(known),
                fix=near_misses(name, known),
            )
