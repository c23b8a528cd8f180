"""LoRA files from the original's format to peft's and back, exactly: `ea weights convert`.

A converted file remembers in its metadata what its format cannot hold, so that converting it back gives the first file:
the same names, tensors, alphas in their number format, and metadata.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import torch
from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.json_object import parse_object, shorten
from safetensors import SafetensorError
from safetensors.torch import save_file

from easyanimate_dit.lora.file import (
    PEFT_METADATA,
    Format,
    Lora,
    describe_layers,
    parse_lora,
    read_lora_tensors,
    refuse_dora,
)
from easyanimate_dit.lora.layer import LoraLayer
from easyanimate_dit.lora.name import Component, name_original, split_key
from easyanimate_dit.lora.target import find_path, list_patterns

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    Tensors = dict[str, Tensor]
    Metadata = dict[str, str]

_MAGNITUDE = re.compile(r"\.lora_magnitude_vector|\.dora_scale$|\.diff_b$")
_MEMORY = "easyanimate_converted_from"
"""Entry of the metadata with what the other format cannot hold, as JSON."""


def convert_lora(source: Path, target: Path, to: Format | None = None, *, overwrite: bool = False) -> Format:
    """Write a LoRA file in the other format.

    Args:
        source: A file, or the folder of diffusers or peft that holds one.
        target: The .safetensors file to write.
        to: The format to write; None takes the one that `source` has not.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The format that was written.

    Raises:
        WeightsError: the source is no LoRA of an installed model, or has this format already; the target exists or
            cannot be written.
    """
    if target.suffix != ".safetensors":
        raise WeightsError(
            "LoRA files are safetensors.", received=target, fix=f"write {target.with_suffix('.safetensors')}"
        )
    if target.exists() and not overwrite:
        raise WeightsError(
            "There is such a file already.", received=target, fix="choose another name, or add --force to replace it"
        )
    tensors, metadata = read_lora_tensors(source)
    found = find_format(tensors, source=str(source))
    wanted: Format = "peft" if found == "original" else "original"
    if to == found:
        raise WeightsError(
            f"The LoRA file has this format already: {source}",
            received=f"--to {to}",
            expected=f"--to {wanted}",
            fix="use the file as it is",
        )
    tensors, metadata = convert_tensors(tensors, metadata, source=str(source))
    try:
        with atomic_path(target) as part:
            save_file(tensors, part, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"The file cannot be written: {error}", received=target, fix="choose another name"
        ) from error
    return wanted


def find_format(tensors: Tensors, *, source: str) -> Format:
    """The format of a LoRA file, by its names.

    Raises:
        WeightsError: the tensors are no LoRA, or of both formats.
    """
    matrices = [key for key in tensors if not key.endswith(".alpha") and not _MAGNITUDE.search(key)]
    is_peft = {".lora_A." in key or ".lora_B." in key for key in matrices}
    if len(is_peft) != 1:
        parse_lora(tensors, source=source)  # says what is wrong with a file that is no LoRA
        raise WeightsError("The LoRA file mixes two formats.", received=source, expected="original or peft")
    return "peft" if is_peft.pop() else "original"


def convert_tensors(tensors: Tensors, metadata: Metadata, *, source: str) -> tuple[Tensors, Metadata]:
    """Tensors and metadata of a LoRA file in the format that it has not.

    Raises:
        WeightsError: a layer is incomplete, is of no model of EasyAnimate, or is DoRA's, which only peft's format has.
    """
    lora = parse_lora(tensors, metadata, source=source)
    for layers in lora.layers.values():
        for layer in layers.values():
            refuse_dora(layer, source)
    is_peft = find_format(tensors, source=source) == "peft"
    restored = _restore(tensors, metadata, source)
    if restored:
        return restored
    renamed = {key: _rename(key, source, is_peft=is_peft) for key in tensors}
    converted = {new: tensors[key] for key, new in renamed.items() if new}
    own = {name: text for name, text in metadata.items() if name != _MEMORY}
    memory = {
        "alphas": {key: _describe_alpha(tensors[key]) for key, new in renamed.items() if not new},
        "metadata": dict(own),
    }
    if is_peft:
        own.pop(PEFT_METADATA, None)
        for component, layers in lora.layers.items():
            for name, layer in layers.items():
                if isinstance(layer, LoraLayer) and layer.alpha is not None:
                    converted[f"{name_original(component, name)}.alpha"] = torch.tensor(layer.alpha)
    else:
        own[PEFT_METADATA] = _describe_layers(lora)
    memory["keys"] = dict.fromkeys(converted) | {new: key for key, new in renamed.items() if new}
    own[_MEMORY] = json.dumps(memory)
    return converted, own


def _restore(tensors: Tensors, metadata: Metadata, source: str) -> tuple[Tensors, Metadata] | None:
    """Undo the conversion that made a file; None where none did, or its layers have changed since."""
    try:
        memory = dict(parse_object(metadata.get(_MEMORY, "{}"), _MEMORY, max_bytes=32_000_000).values)
        if not memory or memory["keys"].keys() != tensors.keys():
            return None
        restored = {old: tensors[new] for new, old in memory["keys"].items() if old}
        for key, (dtype, shape, value) in memory["alphas"].items():
            restored[key] = torch.tensor(value, dtype=getattr(torch, dtype)).reshape(shape)
        return restored, dict(memory["metadata"])
    except (WeightsError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(
            "What the file remembers of its first format is damaged.",
            received=f"{source}: {_MEMORY} ({shorten(str(error))})",
            fix="convert the first file again",
        ) from error


def _describe_alpha(alpha: Tensor) -> tuple[str, list[int], float]:
    return str(alpha.dtype).removeprefix("torch."), list(alpha.shape), alpha.item()


def _describe_layers(lora: Lora) -> str:
    """The configuration of each component, as peft and diffusers write it."""
    by_path: dict[Component, dict[str, LoraLayer]] = {
        component: {
            require_path(component, name, lora.source): layer
            for name, layer in layers.items()
            if isinstance(layer, LoraLayer)
        }
        for component, layers in lora.layers.items()
    }
    return describe_layers(by_path)


def _rename(key: str, source: str, *, is_peft: bool) -> str | None:
    """A tensor's name in the other format; None for an alpha, which peft keeps in the metadata."""
    component, name, part = split_key(key, source=source)
    path = require_path(component, name, source)
    if is_peft:
        return f"{name_original(component, path)}.lora_{part}.weight"
    return None if part == "alpha" else f"{component}.{path}.lora_{'A' if part == 'down' else 'B'}.weight"


def require_path(component: Component, name: str, source: str) -> str:
    """The path of a module, with dots, from its name in a LoRA file.

    Raises:
        WeightsError: No installed model has such a module.
    """
    path = find_path(component, name)
    if path is None:
        known = list_patterns(component)
        raise WeightsError(
            f"No installed model has such a layer in its {component.replace('_', ' ')}.",
            received=f"{source}: {name}",
            expected=f"a LoRA of {', '.join(known) or 'a model that is installed'}",
            fix=near_misses(name, [pattern for patterns in known.values() for pattern in patterns.values()])
            or "install the plugin of the model that it was trained on",
        )
    return path
