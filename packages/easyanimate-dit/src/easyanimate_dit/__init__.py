"""Video diffusion transformers, conditioning, the sampling pipeline, LoRA and their training."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyanimate_dit.hunyuan import HunyuanCondition, HunyuanTransformer3DModel
    from easyanimate_dit.hunyuan.rotary import make_rotary_table
    from easyanimate_dit.pixart import PixArtCondition, Transformer3DModel

_EXPORTS = {
    "HunyuanCondition": "easyanimate_dit.hunyuan",
    "HunyuanTransformer3DModel": "easyanimate_dit.hunyuan",
    "PixArtCondition": "easyanimate_dit.pixart",
    "Transformer3DModel": "easyanimate_dit.pixart",
    "make_rotary_table": "easyanimate_dit.hunyuan.rotary",
}

__all__ = [
    "HunyuanCondition",
    "HunyuanTransformer3DModel",
    "PixArtCondition",
    "Transformer3DModel",
    "make_rotary_table",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import easyanimate_dit` does not import torch."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'easyanimate_dit' has no attribute {name!r}")
