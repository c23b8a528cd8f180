"""The video autoencoders of EasyAnimate V2, V3 and V4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyanimate_vae.autoencoder import AutoencoderKLMagvit

__all__ = ["AutoencoderKLMagvit"]


def __getattr__(name: str) -> Any:
    """Import the model only when it is asked for, so that plugins can be listed without torch."""
    if name == "AutoencoderKLMagvit":
        from easyanimate_vae.autoencoder import AutoencoderKLMagvit

        return AutoencoderKLMagvit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
