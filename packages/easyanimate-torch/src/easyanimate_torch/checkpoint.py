"""Strict loading: a folder or file of weights becomes a model, or an error lists everything that does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights
from easyanimate_core.checkpoint import check_claims
from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import read_object
from easyanimate_core.listing import list_weights
from easyanimate_core.weights_file import SAFETENSORS_SUFFIXES, check_file
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_parameter_registration_hook

from easyanimate_torch.explaining import explaining
from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

_SAME_RELEASE = "check that weights and config.json belong to the same version and variant of EasyAnimate"
_A_RELEASE = "that of a released model"
_MAX_LISTED = 8
_SPARE_TENSORS = 1000
_SPARE_VALUES = 2**24
"""What a model may have beside its weights: tables that it computes."""


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
    written = read_object(folder / "config.json")
    check_claims(written)
    config = {**written.values, **(changes or {})}
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
    model = outline(lambda: model_class.from_config(dict(config)), num_tensors=len(weights), source=source)
    weights = dict(weights)
    model._fix_state_dict_keys_on_load(weights)  # noqa: SLF001 (attention layers in files of older diffusers)
    own = model.state_dict()
    check_shapes(list_shapes(own), list_shapes(weights), source=source, known_extras=known_extras)
    check_kinds(own, weights, source=source)
    fitting = {name: weights[name] for name in own}
    fitting = {name: value.to(dtype) if value.is_floating_point() else value for name, value in fitting.items()}
    computed = _list_computed(model)
    if computed:
        check_size(computed, sum(map(torch.Tensor.numel, weights.values())), source=source)
        with explaining("The configuration", source, _A_RELEASE), silence_libraries(), init_empty_weights():
            model = model_class.from_config(dict(config))
    model.load_state_dict(fitting, assign=True)
    return model.eval()


def outline(make: Callable[[], Any], *, num_tensors: int, source: str) -> Any:
    """Build a model without memory for its tensors, and no larger than the weights that are there for it.

    A configuration may claim anything, so it is compared before memory is taken: the build ends at the first layer too
    many.

    Args:
        make: Builds it from its configuration.
        num_tensors: How many the weights have.
        source: What the error calls them.

    Returns:
        The model on the device "meta".

    Raises:
        WeightsError: The configuration is none of such a model, or describes a larger one.
    """
    most = 2 * num_tensors + _SPARE_TENSORS  # some layers make tensors that they replace while they are built
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen > most:
            raise _too_large(source, f"more than {most:,} tensors", f"the {num_tensors:,} of the weights")

    hook = register_module_parameter_registration_hook(count)
    try:
        with explaining("The configuration", source, _A_RELEASE), silence_libraries(), torch.device("meta"):
            return make()
    finally:
        hook.remove()


def check_size(tensors: Iterable[torch.Tensor], num_values: int, *, source: str) -> None:
    """Raise `WeightsError` where tensors of an outlined model have more numbers than its weights, by far.

    Args:
        tensors: Those of a model, or those that it computes.
        num_values: How many numbers the weights have.
        source: What the error calls them.
    """
    total = sum(tensor.numel() for tensor in tensors)
    if total > num_values + _SPARE_VALUES:
        raise _too_large(source, f"{total:,} numbers", f"at most the {num_values:,} of the weights")


def read_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a component folder, from the files that `list_weights` names.

    Raises:
        WeightsError: There are no weights, a file of theirs is missing or damaged, or two hold the same tensor.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in list_weights(folder):
        found = read_weights(path)
        twice = tensors.keys() & found.keys()
        if twice:
            raise WeightsError(
                f"Two parts of the weights hold the same tensor: {folder}",
                received=f"{min(twice)}, in {path.name} too",
                expected="every tensor once",
                fix="download or copy the folder again",
            )
        tensors |= found
    return tensors


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """Read the tensors of one file: safetensors, or the original's .bin, .pt, .pth and .ckpt as plain tensors.

    Raises:
        WeightsError: The file is missing or damaged, or holds something else, such as code.
    """
    path = Path(path)
    check_file(path)
    with explaining("The weights file", path, "a .safetensors or .pt file of tensors"):
        return load_file(path) if path.suffix in SAFETENSORS_SUFFIXES else _read_pickle(path)


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


def check_kinds(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], *, source: str, fix: str = _SAME_RELEASE
) -> None:
    """Raise `WeightsError` for whole numbers where the model has fractions, or the reverse; quantised files have them.

    Args:
        expected: Tensors of the model.
        found: Those of the checkpoint; names that the model lacks do not count.
        source: What the error calls the checkpoint.
        fix: What the error proposes.
    """
    others = [
        f"{name}: {_name_dtype(tensor)} in the file, {_name_dtype(expected[name])} in the model"
        for name, tensor in found.items()
        if name in expected and tensor.is_floating_point() != expected[name].is_floating_point()
    ]
    if others:
        raise WeightsError(
            f"{source} does not fit the model",
            received=_list_some("of another kind", others),
            expected="tensors of the kinds that the model has; quantised weights are not read",
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
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(tensors, dict) or not tensors:
        raise TypeError(f"{type(loaded).__name__} in place of tensors by their names")
    others = [name for name, value in tensors.items() if not isinstance(name, str) or not _is_plain(value)]
    if others:
        raise TypeError(f"{', '.join(map(str, others[:_MAX_LISTED]))} are no tensors")
    return tensors


def _is_plain(value: object) -> bool:
    """Whether a value is a tensor whose numbers are all in the file; others can be of any size."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_meta or value.is_quantized:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _list_computed(model: nn.Module) -> list[torch.Tensor]:
    """Tensors of a model that are not among its weights: they have no values where it was outlined."""
    weights = model.state_dict().keys()
    buffers = [tensor for name, tensor in model.named_buffers() if name not in weights]
    fields = (value for module in model.modules() for value in vars(module).values())
    return [*buffers, *(value for value in fields if isinstance(value, torch.Tensor))]


def _too_large(source: str, received: str, expected: str) -> WeightsError:
    return WeightsError(
        f"The configuration describes a larger model than the weights are: {source}",
        received=received,
        expected=expected,
        fix=_SAME_RELEASE,
    )


def _name_dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
