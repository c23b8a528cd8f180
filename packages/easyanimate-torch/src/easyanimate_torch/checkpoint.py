"""Strict loading: a folder or file of weights becomes a model, or an error lists everything that does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights
from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import PICKLE_SUFFIXES, check_file, read_json
from safetensors.torch import load_file

from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STEM = "diffusion_pytorch_model"
"""Name of the weights in a component folder, which diffusers and the original write."""
_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
_SAME_RELEASE = "check that weights and config.json belong to the same version and variant of EasyAnimate"
_MAX_LISTED = 8


def load_model(
    model_class: Any,
    folder: Path,
    *,
    dtype: torch.dtype,
    changes: Mapping[str, Any] | None = None,
    known_extras: Iterable[str] = (),
) -> Any:
    """Load the model of a component folder: `config.json`, and weights as `read_folder` reads them.

    Args:
        model_class: A model class of diffusers.
        folder: The component folder, such as `vae` or `transformer` of a checkpoint.
        dtype: Of the weights in memory.
        changes: Fields that win over those of `config.json`.
        known_extras: Patterns of names that this family of checkpoints carries beside the model.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        WeightsError: A file is missing or damaged, or a tensor is missing, unexpected or of another shape.
    """
    config = read_json(folder / "config.json") | dict(changes or {})
    weights = read_folder(folder)
    model = build_model(model_class, config, weights, dtype=dtype, source=str(folder), known_extras=known_extras)
    model.register_to_config(_name_or_path=str(folder))
    return model


def build_model(  # noqa: PLR0913 (keyword-only)
    model_class: Any,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    *,
    dtype: torch.dtype,
    source: str,
    known_extras: Iterable[str] = (),
) -> Any:
    """Build a model around given weights, without initial values of its own: tensors of `dtype` are not even copied.

    Args:
        model_class: A model class of diffusers.
        config: Its whole configuration.
        weights: Name to tensor.
        dtype: Of the weights in memory.
        source: What the error calls the weights.
        known_extras: Patterns of names that this family of checkpoints carries beside the model.

    Returns:
        The model on the device of the weights, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape.
    """
    with silence_libraries(), init_empty_weights():
        model = model_class.from_config(dict(config))
    weights = dict(weights)
    model._fix_state_dict_keys_on_load(weights)  # noqa: SLF001 (attention layers in files of older diffusers)
    own = list_shapes(model.state_dict())
    check_shapes(own, list_shapes(weights), source=source, known_extras=known_extras)
    fitting = {name: weights[name] for name in own}
    fitting = {name: value.to(dtype) if value.is_floating_point() else value for name, value in fitting.items()}
    model.load_state_dict(fitting, assign=True)
    return model.eval()


def read_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a component folder: `diffusion_pytorch_model` in one file, or in parts that an index names.

    safetensors are preferred to PyTorch's own formats.

    Raises:
        WeightsError: There are no weights, or a file of theirs is missing or damaged.
    """
    for name in (f"{_STEM}{suffix}" for suffix in _SUFFIXES):
        if (folder / name).is_file():
            return read_weights(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = sorted(set(read_json(index)["weight_map"].values()))
            return {key: tensor for part in parts for key, tensor in read_weights(folder / part).items()}
    raise WeightsError(
        f"There are no weights in {folder}",
        received=", ".join(sorted(path.name for path in folder.iterdir())),
        expected=f"{_STEM} with one of the endings {', '.join(_SUFFIXES)}",
    )


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """Read the tensors of one file: safetensors, or the original's .bin, .pt, .pth and .ckpt as plain tensors.

    Raises:
        WeightsError: The file is missing or damaged, or holds something else, such as code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file {path}",
            received="nothing there",
            expected="a .safetensors or .pt file",
            fix="download or copy it again",
        )
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except Exception as error:
        check_file(path)  # knows more kinds of damage
        raise WeightsError(
            "The weights file cannot be read.",
            received=f"{path} ({error})",
            expected="a .safetensors or .pt file of tensors",
            fix="download or copy it again",
        ) from error
    return loaded


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    known_extras: Iterable[str] = (),
    fix: str = _SAME_RELEASE,
) -> None:
    """Compare the tensors of a checkpoint with those of a model.

    Args:
        expected: Name to shape in the model.
        found: Name to shape in the checkpoint.
        source: What the error calls the checkpoint.
        known_extras: Patterns of names that this family of checkpoints carries beside the model.
        fix: What the error proposes.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape; all of them are counted and named.
    """
    known = re.compile("|".join(known_extras) or "(?!)")
    unexpected = {name for name in found.keys() - expected.keys() if not known.search(name)}
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
            fix=fix,
        )


def list_shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor by name, for `check_shapes`."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _list_some(title: str, lines: Iterable[str]) -> str:
    """Put the first few of `lines` under a title that counts all of them."""
    lines = sorted(lines)
    shown = [f"    {line}" for line in lines[:_MAX_LISTED]]
    if len(lines) > _MAX_LISTED:
        shown.append(f"    ... and {len(lines) - _MAX_LISTED} more")
    return "\n".join([f"{len(lines)} {title}:", *shown])


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    # The original's trainers store the weights beside the optimizer.
    tensors = loaded.get("state_dict", loaded)
    others = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise TypeError(f"{', '.join(map(str, others[:_MAX_LISTED]))} are no tensors")
    return tensors
