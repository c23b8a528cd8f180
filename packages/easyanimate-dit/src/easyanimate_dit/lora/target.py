"""The modules that a LoRA can change, by path: of a model in memory, and of the models that are installed."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from easyanimate_core.registry import load_plugins
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")
_PLACE = "#"


def list_targets(model: nn.Module) -> dict[str, Any]:
    """Find the modules that the original gives LoRA weights, by path.

    Transformer: every linear layer and every 1x1 convolution, except the fused attention of the resampler. Text
    encoder (a model of transformers): every linear layer of its stack, not the embeddings or the pooler.
    """
    fused = tuple(
        f"{path}." for path, module in model.named_modules() if getattr(module, "has_fused_projections", False)
    )
    is_text_encoder = hasattr(model, "get_input_embeddings")
    targets = {}
    for path, module in model.named_modules():
        plain = _unwrap(module)
        is_linear = isinstance(plain, nn.Linear) or (isinstance(plain, nn.Conv2d) and plain.kernel_size == (1, 1))
        is_inside = path.startswith("encoder.") if is_text_encoder else not path.startswith(fused)
        if is_linear and is_inside and "lora_" not in path and not path.endswith("base_layer"):
            targets[path] = plain
    return targets


def _unwrap(module: nn.Module) -> Any:
    """The layer itself where peft has wrapped it."""
    return getattr(module, "base_layer", module)


def list_patterns(component: str) -> dict[str, Mapping[str, str]]:
    """For each installed model the paths that its layers can have, with # for a number.

    Returns:
        By model: paths with underscores instead of dots, to the paths as they are.
    """
    return {key: patterns[component] for key, patterns in _list_all_patterns().items() if component in patterns}


@cache
def _list_all_patterns() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """By model and component; building the networks, without weights, takes a second or two."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for key, spec in load_plugins().models().items():
        targets = spec.list_lora_targets() if spec.list_lora_targets else {}
        for component, paths in targets.items():
            patterns = [_NUMBER.sub(_PLACE, path) for path in paths]
            found.setdefault(key, {})[component] = {pattern.replace(".", "_"): pattern for pattern in patterns}
    return found


def find_models(component: str, names: Iterable[str]) -> tuple[str, ...]:
    """Keys of the installed models that have modules of all these names, with dots or underscores.

    Names that no installed model has tell nothing. Where the names are in all parts of a model, models with further
    parts are left out: a whole LoRA has layers in all parts of its model.
    """
    installed = list_patterns(component)
    known = {name for patterns in installed.values() for name in patterns}
    flat = known & {_NUMBER.sub(_PLACE, name.replace(".", "_")) for name in names}
    possible = {key: patterns for key, patterns in installed.items() if flat and flat <= patterns.keys()}
    whole = tuple(
        key
        for key, patterns in possible.items()
        if list_parts(patterns.values()) == list_parts(patterns[name] for name in flat)
    )
    return whole or tuple(possible)


def find_path(component: str, name: str) -> str | None:
    """The path of a module, with dots, from its name with underscores; None where no installed model has such one."""
    flat = name.replace(".", "_")
    pattern = _NUMBER.sub(_PLACE, flat)
    known = next((patterns[pattern] for patterns in list_patterns(component).values() if pattern in patterns), None)
    numbers = iter(_NUMBER.findall(flat))
    return None if known is None else re.sub(_PLACE, lambda _: next(numbers), known)


def list_parts(names: Iterable[str]) -> set[str]:
    """The parts of a model that paths with dots begin in."""
    return {name.partition(".")[0] for name in names}
