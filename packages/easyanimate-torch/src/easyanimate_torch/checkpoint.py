"""Loading weights without surprises: what does not fit a model is an error that lists it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from easyanimate_core.errors import WeightsError
from safetensors.torch import load_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

_MAX_LISTED = 8


def _list_some(title: str, lines: Iterable[str]) -> str:
    """Put the first few of `lines` under a title that counts all of them."""
    lines = sorted(lines)
    shown = [f"    {line}" for line in lines[:_MAX_LISTED]]
    if len(lines) > _MAX_LISTED:
        shown.append(f"    ... and {len(lines) - _MAX_LISTED} more")
    return "\n".join([f"{len(lines)} {title}:", *shown])


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    known_extras: Iterable[str] = (),
) -> None:
    """Compare the tensors of a checkpoint with those of a model.

    Args:
        expected: name to shape in the model.
        found: name to shape in the checkpoint.
        source: what the error calls the checkpoint.
        known_extras: patterns of names that this family of checkpoints carries beside the model.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; all of them are counted and named.
    """
    unexpected = {
        name for name in found.keys() - expected.keys() if not any(re.search(pattern, name) for pattern in known_extras)
    }
    misshapen = {
        f"{name}: {tuple(found[name])} in the file, {tuple(expected[name])} in the model"
        for name in expected.keys() & found.keys()
        if tuple(found[name]) != tuple(expected[name])
    }
    missing = expected.keys() - found.keys()
    groups = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    problems = [_list_some(title, names) for title, names in groups.items() if names]
    if problems:
        raise WeightsError(
            f"{source} does not fit the model",
            received="\n  ".join(problems),
            expected="exactly the tensors of the model",
            fix="check that weights and config.json belong to the same version and variant of EasyAnimate",
        )


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of one file: safetensors, or the original's .bin, .pt, .pth and .ckpt as plain tensors."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError("the weights file does not exist", received=path, expected="a .safetensors or .pt file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            "the weights file cannot be read", received=f"{path} ({error})", fix="download or copy it again"
        ) from error
    # The original's trainers store the weights beside the optimizer.
    return loaded.get("state_dict", loaded)


def list_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor by name, for `check_shapes`."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
