"""LoRA on the transformer and the first text encoder: find its modules, merge it into weights, or attach an adapter.

`lora_file.py` reads the files, of the original's format and of peft's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import WeightsError, near_misses
from torch import nn

from easyanimate_dit.hunyuan.embedding import FusedProjectionAttention
from easyanimate_dit.lora.file import Component, Lora, LoraLayer, make_peft_config, name_original, name_peft, read_lora
from easyanimate_dit.pixart import Transformer3DModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from easyanimate_core.spec import LoraFile
    from torch import Tensor

_LOG = logging.getLogger("easyanimate.lora")

_WHOLE = {"adaln_single", "caption_projection", "proj_out", "transformer_blocks"}
"""Parts of V1's transformer; V2 added long skips, V3 the projection of a picture."""
_SKIPS, _PICTURE = "long_connect_fc", "clip_projection_linear"
_V4_PARTS = {"blocks", "encoder_layer"}
_OLDER_PARTS = {"transformer_blocks", "encoder_block"}


def list_targets(model: nn.Module) -> dict[str, Any]:
    """Find the modules that the original gives LoRA weights, by path.

    Transformer: every linear layer and every 1x1 convolution, except the fused attention of the resampler. Text
    encoder (a model of transformers): every linear layer of its stack, not the embeddings or the pooler.
    """
    fused = tuple(f"{path}." for path, module in model.named_modules() if isinstance(module, FusedProjectionAttention))
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


# Matching -----------------------------------------------------------------------------------------------------------


def match_lora(lora: Lora, component: Component, model: nn.Module) -> dict[str, LoraLayer]:
    """Find the module of every layer that the file has for `component`.

    Returns:
        Module path to layer; as many entries as the file has layers for the component.

    Raises:
        WeightsError: the file has nothing for the component, is of another version, names modules that the model does
            not have, or has matrices of another shape; the nearest modules are named.
    """
    layers = lora.layers.get(component, {})
    if not layers:
        raise WeightsError(
            f"the LoRA file has no layer for the {component}",
            received=f"{lora.source} with layers for {', '.join(lora.layers)}",
            expected=f"names like {name_original(component, next(iter(list_targets(model)), 'path'))}",
        )
    targets = list_targets(model)
    _check_version(lora, component, model, targets)
    # Both ways of writing a path resolve: with dots, and with underscores as the original has it.
    by_name = {path.replace(".", "_"): path for path in targets} | {path: path for path in targets}
    unknown = sorted(name for name in layers if name not in by_name)
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


def tell_versions(names: Iterable[str]) -> tuple[str, ...]:
    """The versions of EasyAnimate that can have modules of these names, written with dots or underscores."""
    names = [name.replace(".", "_") for name in names]
    known = _WHOLE | _V4_PARTS | _OLDER_PARTS | {_SKIPS, _PICTURE}
    parts = {part for part in known if any(f"{name}_".startswith(f"{part}_") for name in names)}
    if parts & _V4_PARTS:
        return ("V4",)
    if _PICTURE in parts:
        return ("V3",)
    is_whole = parts >= _WHOLE
    if _SKIPS in parts:
        return ("V2",) if is_whole else ("V2", "V3")
    if is_whole:
        return ("V1",)
    return ("V1", "V2", "V3") if parts & _OLDER_PARTS else ()


def _name_version(model: nn.Module) -> str | None:
    """The version of a transformer of V1 to V3 by its configuration: a small V2 has no long skips that would tell."""
    config: Mapping[str, Any] = getattr(model, "config", {}) if isinstance(model, Transformer3DModel) else {}
    if not config:
        return None
    if config["basic_block_type"] == "global_motionmodule":
        return "V3"
    return "V1" if config["motion_module_type"] == "VanillaGrid" else "V2"


def _check_version(lora: Lora, component: Component, model: nn.Module, targets: Iterable[str]) -> None:
    found, own = tell_versions(lora.layers[component]), tell_versions(targets)
    if found and own and not set(found) & set(own):
        raise WeightsError(
            "the LoRA file is of another version",
            received=f"{lora.source}: its {component} is that of EasyAnimate {' or '.join(found)}",
            expected=f"EasyAnimate {_name_version(model) or ' or '.join(own)}",
            fix=f"use --model {' or '.join(found).lower()}, or a LoRA of this version",
        )


def _find_misshapen(matched: Mapping[str, LoraLayer], targets: Mapping[str, Any]) -> Iterator[str]:
    for path, layer in matched.items():
        # Quantised weights are packed, so the layer's own numbers are asked, not the tensor's shape.
        module = targets[path]
        is_linear = isinstance(module, nn.Linear)
        own = (module.out_features, module.in_features) if is_linear else tuple(module.weight.shape[:2])
        if (layer.up.shape[0], layer.down.shape[1]) != own:
            yield f"{path} {tuple(layer.up.shape)} x {tuple(layer.down.shape)} for a weight {own}"


# Applying -----------------------------------------------------------------------------------------------------------


def merge_loras(loras: Iterable[LoraFile], components: Mapping[str, Any]) -> None:
    """Merge LoRA files, one after the other, into the parts of a model that they have layers for; log what matched.

    Args:
        loras: Files and weights, as `LoadOptions.loras` has them.
        components: The parts of the model by role: "transformer", "text_encoder", ...

    Raises:
        WeightsError: a file cannot be read or does not fit.
    """
    for option in loras:
        lora = read_lora(option.path)
        counts = {
            component: merge_lora(lora, component, components[component], weight=option.weight)
            for component in lora.layers
        }
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
                "a LoRA cannot be merged into quantised weights",
                received=f"{path} of {own.dtype}",
                fix="attach it as an adapter instead",
            )
        own.copy_(_change(own, layer, weight))
    return len(matched)


def _change(own: Tensor, layer: LoraLayer, weight: float) -> Tensor:
    """The changed weight of a module, as `own`, in float32."""
    up, down = (x.flatten(1).to(own.device, torch.float32) for x in (layer.up, layer.down))
    changed = own.float() + weight * layer.scale * (up @ down).reshape(own.shape)
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
    matched = match_lora(lora, component, model)
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
