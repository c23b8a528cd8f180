"""LoRA on the transformer and the first text encoder: matched with modules, merged into weights, or attached.

`file.py` reads the files, of the original's format and of peft's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import WeightsError, near_misses
from torch import nn

from easyanimate_dit.lora.file import Lora, make_peft_config, name_peft, read_lora
from easyanimate_dit.lora.layer import Layer, LoraLayer
from easyanimate_dit.lora.name import Component, name_original
from easyanimate_dit.lora.target import find_models, list_parts, list_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from easyanimate_core.spec import LoraFile
    from torch import Tensor

_LOG = logging.getLogger("easyanimate.lora")

# Matching -----------------------------------------------------------------------------------------------------------


def match_lora(lora: Lora, component: Component, model: nn.Module) -> dict[str, Layer]:
    """Find the module of every layer that the file has for `component`.

    Returns:
        Module path to layer; as many entries as the file has layers for the component.

    Raises:
        WeightsError: the file has nothing for the component, is of another model, names modules that the model does
            not have, or has matrices of another shape; the nearest modules are named.
    """
    layers = lora.layers.get(component, {})
    if not layers:
        raise WeightsError(
            f"The LoRA file has no layer for the {component}",
            received=f"{lora.source} with layers for {', '.join(lora.layers)}",
            expected=f"names like {name_original(component, next(iter(list_targets(model)), 'path'))}",
        )
    targets = list_targets(model)
    # Both ways of writing a path resolve: with dots, and with underscores as the original has it.
    by_name = {path.replace(".", "_"): path for path in targets} | {path: path for path in targets}
    unknown = sorted(name for name in layers if name not in by_name)
    if unknown or list_parts(by_name[name] for name in layers) != list_parts(targets):
        _refuse_other_model(lora, component, targets)
    if unknown:
        raise WeightsError(
            f"{len(unknown)} of {len(layers)} LoRA layers have no counterpart in the model",
            received=f"{lora.source}: " + ", ".join(unknown[:4]) + (", ..." if len(unknown) > 4 else ""),  # noqa: PLR2004
            expected=f"modules such as {', '.join(sorted(targets)[:3])}",
            fix=near_misses(unknown[0], by_name) or "use a LoRA that was trained on this version of the model",
        )
    matched = {by_name[name]: layer for name, layer in layers.items()}
    misshapen = list(_find_misshapen(matched, targets))
    if misshapen:
        raise WeightsError(
            f"{len(misshapen)} of {len(matched)} LoRA layers have another shape than the model's weights",
            received=f"{lora.source}: " + "; ".join(misshapen[:4]),
            fix="use a LoRA that was trained on this version and variant of the model",
        )
    return matched


def _refuse_other_model(lora: Lora, component: Component, targets: Iterable[str]) -> None:
    """Raise `WeightsError` where the layers are those of another installed model, as far as their names tell."""
    found, own = find_models(component, lora.layers[component]), find_models(component, targets)
    if found and own and not set(found) & set(own):
        raise WeightsError(
            "The LoRA file is of another model.",
            received=f"{lora.source}: its {component} is that of {' or '.join(found)}",
            expected="a LoRA of this model",
            fix=f"use --model {' or '.join(found)}, or a LoRA that was trained on this model",
        )


def _find_misshapen(matched: Mapping[str, Layer], targets: Mapping[str, Any]) -> Iterator[str]:
    for path, layer in matched.items():
        # Quantised weights are packed, so the layer's own numbers are asked, not the tensor's shape.
        module = targets[path]
        is_linear = isinstance(module, nn.Linear)
        own = (module.out_features, module.in_features) if is_linear else tuple(module.weight.shape[:2])
        rows, columns = layer.shape
        if (rows, columns or own[1]) != own:
            yield f"{path} {layer.shape} for a weight {own}"
        elif layer.bias is not None and module.bias is None:
            yield f"{path} with a bias for a module that has none"


# Applying -----------------------------------------------------------------------------------------------------------


def read_loras(loras: Iterable[LoraFile]) -> list[Lora]:
    """Read LoRA files; what is wrong with one is told before anything large is loaded.

    Raises:
        WeightsError: a file cannot be read.
    """
    read: list[Lora] = []
    for option in loras:
        read.append(read_lora(option.path))
        if read[-1].is_zero():
            _LOG.warning("LoRA %s changes nothing: all of its numbers are zero.", option.path.name)
    return read


def merge_option(option: LoraFile, lora: Lora, components: Mapping[str, Any]) -> None:
    """Merge what was read of a LoRA file into the parts of a model that it has layers for; log what matched.

    Args:
        option: File and weight, as `LoadOptions.loras` has them.
        lora: What `read_loras` gave of it.
        components: The parts of the model by role: "transformer", "text_encoder", ...

    Raises:
        WeightsError: it does not fit.
    """
    counts: dict[str, int] = {}
    for component in lora.layers:
        if component not in components:
            raise WeightsError(
                f"The LoRA file changes a part that the model does not have: {component}",
                received=lora.source,
                expected=", ".join(components),
            )
        counts[component] = merge_lora(lora, component, components[component], weight=option.weight)
    places = ", ".join(f"{count} in the {component.replace('_', ' ')}" for component, count in counts.items())
    _LOG.info("LoRA %s, weight %g, matched modules: %s", option.path.name, option.weight, places)


@torch.no_grad()
def merge_lora(lora: Lora, component: Component, model: nn.Module, *, weight: float = 1.0) -> int:
    """Add a LoRA to the weights of a model for good, one module at a time.

    A negative `weight` takes it out again, unless it is DoRA, which forgets the norm that a row had.

    Returns:
        Number of modules changed.

    Raises:
        WeightsError: see `match_lora`.
    """
    matched = match_lora(lora, component, model)
    targets = list_targets(model)
    for path, layer in matched.items():
        own = targets[path].weight
        if not own.is_floating_point():
            raise WeightsError(
                "A LoRA cannot be merged into quantised weights.",
                received=f"{path} of {own.dtype}",
                fix="attach it as an adapter instead",
            )
        if layer.shape[1]:
            own.copy_(_change(own, layer, weight))
        if layer.bias is not None:
            targets[path].bias.add_(weight * layer.bias.flatten().to(own.device, targets[path].bias.dtype))
    return len(matched)


def _change(own: Tensor, layer: Layer, weight: float) -> Tensor:
    """The changed weight of a module, as `own`, in float32."""
    changed = own.float() + weight * layer.scale * layer.multiply(own.device).reshape(own.shape)
    if layer.magnitude is None:
        return changed
    rows = changed.flatten(1)
    magnitude = layer.magnitude.to(own.device, torch.float32).reshape(-1, 1)
    return (rows * (magnitude / rows.norm(dim=1, keepdim=True))).reshape(own.shape)


def attach_lora(
    lora: Lora, component: Component, model: Any, *, adapter_name: str = "default", weight: float = 1.0
) -> int:
    """Attach a LoRA as a peft adapter, which can be weighted, switched and removed later.

    Args:
        lora: the file.
        component: which of its parts.
        model: the transformer (a diffusers model) or the text encoder (a transformers model).
        adapter_name: name of the adapter.
        weight: strength of the adapter.

    Returns:
        Number of modules that got an adapter.

    Raises:
        WeightsError: see `match_lora`.
    """
    matched: dict[str, LoraLayer] = {}
    for path, layer in match_lora(lora, component, model).items():
        if not isinstance(layer, LoraLayer) or layer.bias is not None:
            raise WeightsError(
                f"A {layer.kind} file can be merged, but not attached.",
                received=f"{lora.source}: {path}" + (" with a bias" if layer.bias is not None else ""),
                expected="LoRA or DoRA without biases",
                fix="load the model with it: open_model(..., loras=...)",
            )
        matched[path] = layer
    config = make_peft_config(matched)
    tensors = {}
    for path, layer in matched.items():
        # peft's files leave ".weight" out behind a magnitude, which transformers does not know.
        tensors |= {f"{name.removesuffix('.weight')}.weight": value for name, value in name_peft(path, layer).items()}
    if hasattr(model, "load_lora_adapter"):
        model.load_lora_adapter(tensors, prefix=None, adapter_name=adapter_name, metadata=config)
    else:
        from peft import LoraConfig

        model.load_adapter(peft_config=LoraConfig(**config), adapter_state_dict=tensors, adapter_name=adapter_name)
    layers: Iterable[Any] = model.modules()
    for module in layers:
        if adapter_name in getattr(module, "lora_A", {}):
            module.set_scale(adapter_name, weight)
    return len(matched)
