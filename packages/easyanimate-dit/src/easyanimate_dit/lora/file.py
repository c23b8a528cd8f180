"""LoRA files as they lie on disk, in the original's format and in peft's: names, layers, reading, writing.

The original's: `lora_unet__blocks_0_attn1_to_q.lora_down.weight`, `.lora_up.weight`, `.alpha`; peft's:
`transformer.blocks.0.attn1.to_q.lora_A.weight`, `lora_B.weight`, with DoRA `lora_magnitude_vector`, alpha in the
metadata.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from easyanimate_core.errors import WeightsError
from safetensors import safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

Component = Literal["transformer", "text_encoder"]
Part = Literal["down", "up", "alpha", "magnitude"]
Format = Literal["original", "peft"]

PEFT_METADATA = "lora_adapter_metadata"
"""Entry of a peft file's metadata with rank and alpha, as JSON."""

_ORIGINAL_PREFIXES: dict[Component, str] = {"transformer": "lora_unet__", "text_encoder": "lora_te_"}
_FILE_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file in a folder."""
_PEFT_WRAPPER = "base_model.model."
_SUFFIXES: dict[str, Part] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
}
_OTHER_TEXT_ENCODER = re.compile(r"lora_te\d+_|text_encoder_\d+\.")


class LoraKey(NamedTuple):
    """What a tensor's name says."""

    component: Component
    name: str
    """Of the module, as the file writes it: with dots, or with underscores."""
    part: Part


@dataclass(frozen=True)
class LoraLayer:
    """One low-rank change: weight += multiplier * scale * up @ down.

    With DoRA (Liu et al., arXiv 2402.09353, equation 5), each row of the sum is then brought to its magnitude.
    """

    down: Tensor
    """(rank, in), with trailing 1 x 1 for a convolution."""
    up: Tensor
    """(out, rank), likewise."""
    alpha: float | None
    """None: the file has none, and the scale is 1."""
    magnitude: Tensor | None = None
    """DoRA: the norm of each row of the changed weight, (out), or (1, out, 1, 1) for a convolution."""

    @property
    def rank(self) -> int:
        """Number of rows of `down`."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Alpha / rank, or 1 without alpha (the original's rule)."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class Lora:
    """The layers of a LoRA file by component and name; the names are the file's, without the component's prefix."""

    source: str
    layers: Mapping[Component, Mapping[str, LoraLayer]]


def name_original(component: Component, path: str) -> str:
    """Name of a module in the original's files: `blocks.0.attn1.to_q` is `lora_unet__blocks_0_attn1_to_q`."""
    return _ORIGINAL_PREFIXES[component] + path.replace(".", "_")


def split_key(key: str, *, source: str) -> LoraKey:
    """Tell component, module and part of a tensor from its name.

    Raises:
        WeightsError: the tensor belongs to no LoRA, or to a text encoder that takes none.
    """
    suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), None)
    if suffix is None:
        raise WeightsError(
            "This is not a LoRA file.",
            received=f"{source}: a tensor {key}",
            expected="names that end in " + ", ".join(_SUFFIXES),
            fix="give whole checkpoints with --weights",
        )
    name, part = key.removesuffix(suffix).removeprefix(_PEFT_WRAPPER), _SUFFIXES[suffix]
    if _OTHER_TEXT_ENCODER.match(name):
        raise WeightsError(
            "The LoRA file changes a text encoder that takes no LoRA.",
            received=f"{source}: {key}",
            expected="layers of the transformer (lora_unet__...) and of the first text encoder (lora_te_...)",
            fix="use a LoRA of the transformer, and of the first text encoder at most",
        )
    for component, prefix in _ORIGINAL_PREFIXES.items():
        start = prefix.rstrip("_") + "_"
        if name.startswith(start):  # one or two underscores: both exist
            return LoraKey(component, name.removeprefix(start).removeprefix("_"), part)
        if name.startswith(f"{component}."):
            return LoraKey(component, name.removeprefix(f"{component}."), part)
    return LoraKey("transformer", name, part)


# Reading ------------------------------------------------------------------------------------------------------------


def read_lora(path: Path | str) -> Lora:
    """Read a LoRA file of either format, or the folder of diffusers or peft that holds one.

    Raises:
        WeightsError: the file cannot be read, holds something else, or a layer is incomplete.
    """
    tensors, metadata = read_lora_tensors(path)
    return parse_lora(tensors, metadata, source=str(path))


def read_lora_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a LoRA file or folder; the alpha that peft keeps beside its file is in the latter.

    Raises:
        WeightsError: the file cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = next(path / name for name in _FILE_NAMES if (path / name).is_file())
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = path.with_name("adapter_config.json")
        if path.name == _FILE_NAMES[1] and config.is_file():
            metadata[PEFT_METADATA] = config.read_text(encoding="utf-8")
    except Exception as error:
        reason = "no LoRA file in the folder" if isinstance(error, StopIteration) else error
        raise WeightsError(
            "The LoRA file cannot be read.",
            received=f"{path} ({reason})",
            expected="a .safetensors file, or a folder with one",
        ) from error
    return tensors, metadata


def parse_lora(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, source: str) -> Lora:
    """Sort the tensors of a LoRA file into layers; see `read_lora`."""
    parts: dict[tuple[Component, str], dict[Part, Tensor]] = {}
    seen: dict[LoraKey, str] = {}
    for key, tensor in tensors.items():
        component, name, part = split_key(key, source=source)
        other = seen.setdefault(LoraKey(component, name.replace(".", "_"), part), key)
        if other != key:
            raise WeightsError(
                "The LoRA file has two tensors for one place.", received=f"{source}: {other} and {key}", expected="one"
            )
        parts.setdefault((component, name), {})[part] = tensor
    peft_config = _parse_peft_config(metadata or {}, source)

    layers: dict[Component, dict[str, LoraLayer]] = {}
    for (component, name), part in parts.items():
        _check_layer(name, part, source)
        down, up = part["down"], part["up"]
        alpha = float(part["alpha"]) if "alpha" in part else _find_peft_alpha(peft_config, component, name, len(down))
        layers.setdefault(component, {})[name] = LoraLayer(down, up, alpha, part.get("magnitude"))
    if not layers:
        raise WeightsError("The LoRA file is empty.", received=source, expected="at least one layer")
    for found in layers.values():
        lacking = [name for name, layer in found.items() if layer.magnitude is None]
        if 0 < len(lacking) < len(found):
            raise WeightsError(
                "The LoRA file has DoRA's magnitudes for some layers only.",
                received=f"{source}: {len(lacking)} of {len(found)} layers have none, such as {lacking[0]}",
                expected="lora_magnitude_vector for every layer, or for none",
                fix="download or convert the file again",
            )
    return Lora(source, {component: layers[component] for component in get_args(Component) if component in layers})


def _check_layer(name: str, part: Mapping[Part, Tensor], source: str) -> None:
    """Raise unless the matrices are both there and can be multiplied."""
    shapes = {kind: tuple(tensor.shape) for kind, tensor in part.items()}
    if "down" not in shapes or "up" not in shapes:
        raise WeightsError(
            "A layer of the LoRA file is incomplete.",
            received=f"{source}: {name} has only {', '.join(part)}",
            expected="a down and an up matrix for every layer",
            fix="download or convert the file again",
        )
    down, up = shapes["down"], shapes["up"]
    is_matrix = all(shape[2:] in {(), (1, 1)} and len(shape) > 1 for shape in (down, up))
    counts: dict[Part, int] = {"alpha": 1, "magnitude": up[0] if is_matrix else 0}
    is_counted = all(part[kind].numel() == count for kind, count in counts.items() if kind in part)
    if not is_matrix or not down[0] or up[1] != down[0] or not is_counted:
        raise WeightsError(
            "A layer of the LoRA file has shapes that do not fit one another.",
            received=f"{source}: {name} with " + ", ".join(f"{kind} {list(shape)}" for kind, shape in shapes.items()),
            expected="down [rank, in], up [out, rank], alpha [], magnitude [out]",
            fix="download or convert the file again",
        )


# peft's configuration ------------------------------------------------------------------------------------------------


def _parse_peft_config(metadata: Mapping[str, str], source: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = dict(json.loads(metadata.get(PEFT_METADATA, "{}")))
    except (ValueError, TypeError) as error:
        raise WeightsError(
            "The LoRA file's configuration is damaged.",
            received=f"{source}: {PEFT_METADATA} ({error})",
            expected="a JSON object, as peft writes it",
            fix="download or convert the file again",
        ) from error
    return config


def _find_peft_alpha(config: Mapping[str, Any], component: Component, name: str, rank: int) -> float | None:
    """Look up alpha in the metadata of a peft file, whose fields carry the component's name when it has several."""
    for prefix in (f"{component}.", ""):
        if f"{prefix}lora_alpha" in config:
            patterns = config.get(f"{prefix}alpha_pattern") or {}
            special = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", name))
            alpha = float(next(special, config[f"{prefix}lora_alpha"]))
            return alpha * math.sqrt(rank) if config.get(f"{prefix}use_rslora") else alpha
    return None


def make_peft_config(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """Describe layers, by the full path of their modules, to peft: rank and alpha of each, and whether it is DoRA."""
    sizes = {path: (layer.rank, layer.rank if layer.alpha is None else layer.alpha) for path, layer in layers.items()}
    (rank, alpha), _ = Counter(sizes.values()).most_common(1)[0]
    # Only exceptions get a pattern: peft tries every pattern on every module.
    other = {f"^{re.escape(path)}$": size for path, size in sizes.items() if size != (rank, alpha)}
    dora = {"use_dora": True} if any(layer.magnitude is not None for layer in layers.values()) else {}
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {pattern: size[0] for pattern, size in other.items()},
        "alpha_pattern": {pattern: size[1] for pattern, size in other.items()},
        "target_modules": match_exactly(layers),
        **dora,
    }


def describe_layers(layers: Mapping[Component, Mapping[str, LoraLayer]]) -> str:
    """The configuration of each component, by the full path of its modules, as diffusers keeps it in the metadata."""
    fields = {
        f"{component}.{field}": value
        for component, found in layers.items()
        for field, value in make_peft_config(found).items()
    }
    return json.dumps(fields)


def match_exactly(paths: Iterable[str]) -> str:
    """`target_modules` for peft that names these modules alone; in a list, "proj_out" would also name "x.proj_out"."""
    return "|".join(re.escape(path) for path in paths)


# Writing ------------------------------------------------------------------------------------------------------------


def name_peft(path: str, layer: LoraLayer) -> dict[str, Tensor]:
    """The tensors of a layer by peft's names for a module of this path."""
    tensors = {f"{path}.lora_A.weight": layer.down, f"{path}.lora_B.weight": layer.up}
    if layer.magnitude is not None:
        tensors[f"{path}.lora_magnitude_vector"] = layer.magnitude
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def save_lora(path: Path, layers: Mapping[Component, Mapping[str, LoraLayer]], to: Format) -> None:
    """Write layers, by component and full path of their modules.

    Raises:
        WeightsError: The layers are DoRA's, and the original's format is to be written.
    """
    tensors: dict[str, Tensor] = {}
    metadata = {"format": "pt"}
    if to == "peft":
        metadata[PEFT_METADATA] = describe_layers(layers)
    for component, found in layers.items():
        for place, layer in found.items():
            if to == "peft":
                tensors |= name_peft(f"{component}.{place}", layer)
                continue
            refuse_dora(layer, str(path))
            name = name_original(component, place)
            tensors[f"{name}.lora_down.weight"] = layer.down.contiguous()
            tensors[f"{name}.lora_up.weight"] = layer.up.contiguous()
            if layer.alpha is not None:
                tensors[f"{name}.alpha"] = torch.tensor(layer.alpha)
    save_file(tensors, path, metadata=metadata)


def refuse_dora(layer: LoraLayer, source: str) -> None:
    """Raise `WeightsError` for a layer of DoRA, which has no place in the original's format."""
    if layer.magnitude is not None:
        raise WeightsError(
            "The original's format cannot hold DoRA.",
            received=f"{source}: layers with lora_magnitude_vector",
            expected="a LoRA without magnitudes",
            fix="keep it in peft's format, which is read everywhere",
        )
