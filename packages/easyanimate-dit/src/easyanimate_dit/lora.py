"""LoRA files for the transformer and the first text encoder: read, merge into the weights, or attach as an adapter.

Two formats are read: the original's (`lora_unet__blocks_0_attn1_to_q.lora_down.weight`, `.lora_up.weight`, `.alpha`)
and peft's (`transformer.blocks.0.attn1.to_q.lora_A.weight`, `lora_B.weight`, alpha in the metadata).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from easyanimate_core.errors import WeightsError, near_misses
from safetensors import safe_open
from torch import nn

from easyanimate_dit.embedding import FusedProjectionAttention

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from easyanimate_core.spec import LoraFile as LoraOption
    from torch import Tensor

Component = Literal["transformer", "text_encoder"]

_ORIGINAL_PREFIX: dict[Component, str] = {"transformer": "lora_unet__", "text_encoder": "lora_te_"}
_PEFT_PREFIXES: dict[str, Component] = {
    "base_model.model.": "transformer",
    "transformer.": "transformer",
    "text_encoder.": "text_encoder",
}
_PEFT_METADATA = "lora_adapter_metadata"
_FILE_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file in a folder."""
_SUFFIXES = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
}


@dataclass(frozen=True)
class LoraLayer:
    """One low-rank change: weight += multiplier * scale * up @ down."""

    down: Tensor
    """(rank, in), with trailing 1 x 1 for a convolution."""
    up: Tensor
    """(out, rank), likewise."""
    alpha: float | None
    """None: the file has none, and the scale is 1."""

    @property
    def rank(self) -> int:
        """Number of rows of `down`."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Alpha / rank, or 1 without alpha (the original's rule)."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class LoraFile:
    """The layers of a LoRA file by component and name; the names are the file's, without the component's prefix."""

    source: str
    layers: Mapping[Component, Mapping[str, LoraLayer]]


def name_original(component: Component, path: str) -> str:
    """Name of a module in the original's files: `blocks.0.attn1.to_q` is `lora_unet__blocks_0_attn1_to_q`."""
    return _ORIGINAL_PREFIX[component] + path.replace(".", "_")


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


# Reading ------------------------------------------------------------------------------------------------------------


def read_lora(path: Path | str) -> LoraFile:
    """Read a LoRA file of either format, or the folder of diffusers or peft that holds one.

    Raises:
        WeightsError: the file cannot be read, holds something else, or a layer is incomplete.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = next(path / name for name in _FILE_NAMES if (path / name).is_file())
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = path.with_name("adapter_config.json")
        if path.name == _FILE_NAMES[1] and config.is_file():
            metadata[_PEFT_METADATA] = config.read_text(encoding="utf-8")
    except Exception as error:
        raise WeightsError(
            "the LoRA file cannot be read",
            received=f"{path} ({error})",
            expected="a .safetensors file, or a folder with one",
        ) from error
    return parse_lora(tensors, metadata, source=str(path))


def parse_lora(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, source: str) -> LoraFile:
    """Sort the tensors of a LoRA file into layers; see `read_lora`."""
    parts: dict[tuple[Component, str], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        component, name, part = _split_key(key, source)
        parts.setdefault((component, name), {})[part] = tensor
    peft_config = json.loads((metadata or {}).get(_PEFT_METADATA, "{}"))

    layers: dict[Component, dict[str, LoraLayer]] = {}
    for (component, name), part in parts.items():
        if "down" not in part or "up" not in part:
            raise WeightsError(
                "a layer of the LoRA file is incomplete",
                received=f"{source}: {name} has only {', '.join(part)}",
                expected="a down and an up matrix for every layer",
                fix="download or convert the file again",
            )
        if "alpha" in part:
            alpha = float(part["alpha"])
        else:
            alpha = _find_peft_alpha(peft_config, component, name, rank=part["down"].shape[0])
        layers.setdefault(component, {})[name] = LoraLayer(part["down"], part["up"], alpha)
    if not layers:
        raise WeightsError("the LoRA file is empty", received=source, expected="at least one layer")
    return LoraFile(source, layers)


def _split_key(key: str, source: str) -> tuple[Component, str, str]:
    """Split a key into component, module name and part (down, up, alpha)."""
    suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), None)
    if suffix is None:
        raise WeightsError(
            "this is not a LoRA file",
            received=f"{source}: a tensor {key}",
            expected="names that end in " + ", ".join(_SUFFIXES),
            fix="give whole checkpoints with --weights",
        )
    name, part = key.removesuffix(suffix), _SUFFIXES[suffix]
    for component, prefix in _ORIGINAL_PREFIX.items():
        if name.startswith(prefix.removesuffix("_")):  # one or two underscores after `unet`: both exist
            return component, name.removeprefix(prefix.removesuffix("_")).removeprefix("_"), part
    for prefix, component in _PEFT_PREFIXES.items():
        if name.startswith(prefix):
            return component, name.removeprefix(prefix), part
    return "transformer", name, part


def _find_peft_alpha(config: Mapping[str, Any], component: Component, name: str, *, rank: int) -> float | None:
    """Look up alpha in the metadata of a peft file, whose fields carry the component's name when it has several."""
    for prefix in (f"{component}.", ""):
        if f"{prefix}lora_alpha" in config:
            patterns = config.get(f"{prefix}alpha_pattern") or {}
            special = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", name))
            alpha = float(next(special, config[f"{prefix}lora_alpha"]))
            return alpha * math.sqrt(rank) if config.get(f"{prefix}use_rslora") else alpha
    return None


# Matching -----------------------------------------------------------------------------------------------------------


def match_lora(lora: LoraFile, component: Component, model: nn.Module) -> dict[str, LoraLayer]:
    """Find the module of every layer that the file has for `component`.

    Returns:
        Module path to layer; as many entries as the file has layers for the component.

    Raises:
        WeightsError: the file has nothing for the component, names modules that the model does not have, or has
            matrices of another shape; the nearest modules are named.
    """
    layers = lora.layers.get(component, {})
    if not layers:
        raise WeightsError(
            f"the LoRA file has no layer for the {component}",
            received=f"{lora.source} with layers for {', '.join(lora.layers)}",
            expected=f"names like {name_original(component, next(iter(list_targets(model)), 'path'))}",
        )
    targets = list_targets(model)
    # Both ways of writing a path resolve: with dots, and with underscores as the original has it.
    by_name = {path.replace(".", "_"): path for path in targets} | {path: path for path in targets}
    unknown = sorted(name for name in layers if name not in by_name)
    if unknown:
        raise _explain_unknown(lora, unknown, len(layers), by_name)
    matched = {by_name[name]: layer for name, layer in layers.items()}
    misshapen = list(_find_misshapen(matched, targets))
    if misshapen:
        raise WeightsError(
            f"{len(misshapen)} of {len(matched)} LoRA layers have another shape than the model's weights",
            received=f"{lora.source}: " + "; ".join(misshapen[:4]),
            fix="use a LoRA that was trained on this version and variant of the model",
        )
    return matched


def _explain_unknown(lora: LoraFile, unknown: list[str], total: int, by_name: Mapping[str, str]) -> WeightsError:
    older = any(name.startswith(("transformer_blocks", "_transformer_blocks")) for name in unknown)
    hint = "it is a LoRA of EasyAnimate V1 to V3: choose that model" if older else near_misses(unknown[0], by_name)
    return WeightsError(
        f"{len(unknown)} of {total} LoRA layers have no counterpart in the model",
        received=f"{lora.source}: " + ", ".join(unknown[:4]) + (", ..." if len(unknown) > 4 else ""),  # noqa: PLR2004
        expected=f"modules such as {', '.join(sorted(by_name.values())[:3])}",
        fix=hint or "use a LoRA that was trained on this version and variant of the model",
    )


def _find_misshapen(matched: Mapping[str, LoraLayer], targets: Mapping[str, Any]) -> Iterator[str]:
    for path, layer in matched.items():
        # Quantised weights are packed, so the layer's own numbers are asked, not the tensor's shape.
        module = targets[path]
        is_linear = isinstance(module, nn.Linear)
        own = (module.out_features, module.in_features) if is_linear else tuple(module.weight.shape[:2])
        given = layer.up.shape[0], layer.down.shape[1]
        if tuple(given) != own or layer.up.shape[1] != layer.rank:
            yield f"{path} {tuple(layer.up.shape)} x {tuple(layer.down.shape)} for a weight {own}"


# Applying -----------------------------------------------------------------------------------------------------------


def merge_loras(loras: Iterable[LoraOption], components: Mapping[str, Any]) -> None:
    """Merge LoRA files, one after the other, into the parts of a model that they have layers for; log what matched.

    Args:
        loras: Files and weights, as `LoadOptions.loras` has them.
        components: The parts by role: "transformer", "text_encoder", ...

    Raises:
        WeightsError: a file cannot be read or does not fit.
    """
    for option in loras:
        lora = read_lora(option.path)
        for component in lora.layers:
            merge_lora(lora, component, components[component], weight=option.weight)


@torch.no_grad()
def merge_lora(lora: LoraFile, component: Component, model: nn.Module, *, weight: float = 1.0) -> int:
    """Add a LoRA to the weights of a model for good; a negative `weight` takes it out again.

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
        up, down = (x.flatten(1).to(own.device, torch.float32) for x in (layer.up, layer.down))
        delta = (up @ down).reshape(own.shape)
        own.copy_(own.float() + weight * layer.scale * delta)
    return len(matched)


def attach_lora(
    lora: LoraFile, component: Component, model: Any, *, adapter_name: str = "default", weight: float = 1.0
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
    config = _make_peft_config(matched)
    tensors = {}
    for path, layer in matched.items():
        tensors[f"{path}.lora_A.weight"] = layer.down.contiguous()
        tensors[f"{path}.lora_B.weight"] = layer.up.contiguous()
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


def _make_peft_config(matched: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """Describe the layers to peft: rank and alpha of each by its full path."""
    sizes = {path: (layer.rank, layer.scale * layer.rank) for path, layer in matched.items()}
    (rank, alpha), _ = Counter(sizes.values()).most_common(1)[0]
    # Only exceptions get a pattern: peft tries every pattern on every module.
    other = {f"^{re.escape(path)}$": size for path, size in sizes.items() if size != (rank, alpha)}
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {pattern: size[0] for pattern, size in other.items()},
        "alpha_pattern": {pattern: size[1] for pattern, size in other.items()},
        "target_modules": list(matched),
    }
