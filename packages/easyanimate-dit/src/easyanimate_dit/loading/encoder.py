"""Loads text and image encoders of transformers strictly, and their tokenizers and processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import check_shapes
from easyanimate_torch.quiet import silence_libraries
from transformers import CLIPImageProcessorPil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch


def load_encoder(
    encoder_class: Any, folder: Path, *, dtype: torch.dtype, known_extras: Iterable[str] = (), **options: Any
) -> Any:
    """Load an encoder for inference from safetensors or .bin files.

    Args:
        encoder_class: A model class of transformers.
        folder: Its `config.json` and weights.
        dtype: Of the weights in memory.
        known_extras: Patterns of names that the file may hold beside the model.
        options: Further arguments of the model class.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape, or the files cannot be read.
    """
    try:
        with silence_libraries():
            # Tensors of another shape are listed below, all of them.
            model, info = encoder_class.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"The {encoder_class.__name__} cannot be loaded: {folder}",
            received=" ".join(str(error).split())[:300],
            expected="config.json, and weights that fit it, as .safetensors or .bin",
        ) from error
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: shape for name, shape in own.items() if name not in info["missing_keys"]}
    found |= dict.fromkeys(info["unexpected_keys"], ())
    found |= {name: tuple(shape) for name, shape, _ in info["mismatched_keys"]}
    check_shapes(own, found, source=str(folder), known_extras=known_extras)
    return model.eval().requires_grad_(requires_grad=False)


def load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """Load a tokenizer of transformers, saying which file is at fault when it cannot be."""
    try:
        return tokenizer_class.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"The tokenizer cannot be loaded: {folder}",
            received=" ".join(str(error).split())[:300],
            expected="the tokenizer's vocabulary and configuration",
        ) from error


def load_image_processor(folder: Path) -> Any:
    """Load the preparation of pictures for CLIP.

    Always the one that resizes with PIL: the other one of transformers gives slightly different pixels.
    """
    try:
        return CLIPImageProcessorPil.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"The image processor cannot be loaded: {folder}",
            received=str(error)[:300],
            expected="preprocessor_config.json",
        ) from error
