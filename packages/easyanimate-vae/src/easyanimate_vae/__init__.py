"""The autoencoders of EasyAnimate: images (V1) and video (V2, V3 and V4)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyanimate_vae.autoencoder import AutoencoderKLMagvit
    from easyanimate_vae.image import FrameAutoencoder

_EXPORTS = {
    "AutoencoderKLMagvit": "easyanimate_vae.autoencoder",
    "FrameAutoencoder": "easyanimate_vae.image",
}

TRAINING_EXTRAS = (r"^loss\.",)
"""Patterns of tensor names: networks of the original's VAE training, which some downloads carry beside the VAE."""

__all__ = ["TRAINING_EXTRAS", "AutoencoderKLMagvit", "FrameAutoencoder"]


def __getattr__(name: str) -> Any:
    """Import a model only when it is asked for, so that plugins can be listed without torch."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
