"""Loads text and image encoders of transformers strictly, and their tokenizers and processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.checkpoint import check_claims
from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import read_object, shorten
from easyanimate_core.machine import format_bytes
from easyanimate_torch.checkpoint import check_kinds, check_shapes, check_size, outline, read_folder
from easyanimate_torch.explaining import explaining
from easyanimate_torch.quiet import silence_libraries
from transformers import CLIPImageProcessorPil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch
    from easyanimate_core.json_object import JsonObject

_MAX_SIDE = 4096
_MAX_VOCABULARY_BYTES = 200_000_000
_NO_VOCABULARY = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_OTHER_TYPES = {"t5": ("mt5", "umt5"), "clip_vision_model": ("clip",)}
"""Kinds of models whose configurations stand for another's, too: by the kind that is loaded."""


def load_encoder(
    encoder_class: Any, folder: Path, *, dtype: torch.dtype, known_extras: Iterable[str] = (), **options: Any
) -> Any:
    """Load an encoder for inference from its `config.json`, and weights as `read_folder` reads them.

    Args:
        encoder_class: A model class of transformers.
        folder: Of both.
        dtype: Of the weights in memory.
        known_extras: Patterns of names that the file may hold beside the model.
        options: Further arguments of the model class.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape, or the files cannot be read.
    """
    written = read_object(folder / "config.json")
    check_claims(written)
    config_class = encoder_class.config_class
    _check_type(written, config_class)
    weights = read_folder(folder)
    source = str(folder)
    with explaining(f"The {encoder_class.__name__}", folder, "config.json, and weights that fit it"):
        config = config_class.from_pretrained(folder, local_files_only=True)
        shell = outline(lambda: encoder_class(config, **options), num_tensors=len(weights), source=source)
        check_size(_list_tensors(shell), sum(tensor.numel() for tensor in weights.values()), source=source)
        with silence_libraries():
            # Tensors of another shape are listed below, all of them.
            model, info = encoder_class.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: shape for name, shape in own.items() if name not in info["missing_keys"]}
    found |= dict.fromkeys(info["unexpected_keys"], ())
    found |= {name: tuple(shape) for name, shape, _ in info["mismatched_keys"]}
    check_shapes(own, found, source=source, known_extras=known_extras)
    check_kinds(model.state_dict(), weights, source=source)
    return model.eval().requires_grad_(requires_grad=False)


def load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """Load a tokenizer of transformers, saying which file is at fault when it cannot be."""
    check_claims(read_object(folder / "tokenizer_config.json"))
    _check_files(folder)
    _check_vocabulary(folder)
    with explaining("The tokenizer", folder, "the tokenizer's vocabulary and configuration"), silence_libraries():
        return tokenizer_class.from_pretrained(folder, local_files_only=True)


def load_image_processor(folder: Path) -> Any:
    """Load the preparation of pictures for CLIP.

    Always the one that resizes with PIL: the other one of transformers gives slightly different pixels.
    """
    settings = read_object(folder / "preprocessor_config.json")
    check_claims(settings)
    for name in ("size", "crop_size"):
        if isinstance(settings.values.get(name), dict):
            sides = settings.object(name)
            for side in sides:
                sides.count(side, least=1, most=_MAX_SIDE)
        elif name in settings:
            settings.count(name, least=1, most=_MAX_SIDE)
    with explaining("The image processor", folder, "preprocessor_config.json"), silence_libraries():
        return CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)


def _check_type(config: JsonObject, config_class: Any) -> None:
    """Raise `WeightsError` for the configuration of another kind of model, which transformers would only warn of."""
    own = config_class.model_type
    accepted = (own, *_OTHER_TYPES.get(own, ()))
    if "model_type" in config and config.text("model_type") not in accepted:
        raise config.refuse("model_type", config.values["model_type"], " or ".join(accepted))


def _check_files(folder: Path) -> None:
    """Raise `WeightsError` for files that are none, such as pipes, or larger than any vocabulary."""
    for path in sorted(folder.iterdir()):
        size = path.stat().st_size if path.is_file() else 0
        if size > _MAX_VOCABULARY_BYTES or not (path.is_file() or path.is_dir()):
            raise WeightsError(
                f"This is no file of a tokenizer: {path}",
                received=format_bytes(size) if size else "something that is no file",
                expected=f"files of at most {format_bytes(_MAX_VOCABULARY_BYTES)}",
            )


def _check_vocabulary(folder: Path) -> None:
    """Raise `WeightsError` for a tokenizer's folder of settings alone: every word would be unknown."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.stat().st_size)
    if not any(name not in _NO_VOCABULARY for name in names):
        raise WeightsError(
            f"The tokenizer has no vocabulary: {folder}",
            received=shorten(", ".join(names)),
            expected="the file of its vocabulary, such as vocab.txt, spiece.model or tokenizer.json",
            fix="download or copy the folder again",
        )


def _list_tensors(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
