"""LoRA files as they lie on disk, in the original's format, in peft's and in those of other tools: reading, writing.

Names are those of `name.py`, the kinds of changes those of `layer.py`. The original's files have alpha as a tensor,
peft's in the metadata or in `adapter_config.json` beside the file.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import JsonObject, parse_object, read_object, shorten
from easyanimate_core.part_files import find_lora
from easyanimate_core.weights_file import SAFETENSORS_SUFFIXES, check_file, read_metadata
from easyanimate_torch.checkpoint import read_weights
from safetensors.torch import save_file

from easyanimate_dit.lora.layer import Layer, LoraLayer, ProductLayer
from easyanimate_dit.lora.name import Component, LoraKey, name_original, split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

Format = Literal["original", "peft"]

PEFT_METADATA = "lora_adapter_metadata"
"""Entry of a peft file's metadata with rank and alpha, as JSON."""

_MATRICES = ("down", "up", "full")
_PEFT_KINDS = ("LORA", "LOHA", "LOKR")
_MAX_QUANTIFIERS = 2


@dataclass(frozen=True)
class Lora:
    """The layers of a LoRA file by component and name; the names are the file's, without the component's prefix."""

    source: str
    layers: Mapping[Component, Mapping[str, Layer]]

    def is_zero(self) -> bool:
        """Whether it changes nothing at all, as a file that was saved before its training."""
        return all(layer.is_zero() for layers in self.layers.values() for layer in layers.values())


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
    path = find_lora(Path(path))
    check_file(path)
    metadata = read_metadata(path) if path.suffix in SAFETENSORS_SUFFIXES else {}
    config = path.with_name("adapter_config.json")
    if path.stem == "adapter_model" and config.is_file():
        metadata[PEFT_METADATA] = json.dumps(dict(read_object(config).values))
    return read_weights(path), metadata


def parse_lora(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, source: str) -> Lora:
    """Sort the tensors of a LoRA file into layers; see `read_lora`."""
    parts: dict[tuple[Component, str], dict[str, Tensor]] = {}
    seen: dict[LoraKey, str] = {}
    for key, tensor in tensors.items():
        component, name, part = split_key(key, source=source)
        other = seen.setdefault(LoraKey(component, name.replace(".", "_"), part), key)
        if other != key:
            raise WeightsError(
                "The LoRA file has two tensors for one place.", received=f"{source}: {other} and {key}", expected="one"
            )
        _check_numbers(key, tensor, source)
        parts.setdefault((component, name), {})[part] = tensor
    peft_config = _parse_peft_config(metadata or {}, source)

    layers: dict[Component, dict[str, Layer]] = {}
    for (component, name), part in parts.items():
        _move_dora_scale(name, part, source)
        _check_layer(name, part, source)
        layers.setdefault(component, {})[name] = _make_layer(component, name, part, peft_config)
    if not layers:
        raise WeightsError("The LoRA file is empty.", received=source, expected="at least one layer")
    for found in layers.values():
        lacking = [name for name, layer in found.items() if layer.magnitude is None and layer.kind != "full"]
        if any(layer.magnitude is not None for layer in found.values()) and lacking:
            raise WeightsError(
                "The LoRA file has DoRA's magnitudes for some layers only.",
                received=f"{source}: {len(lacking)} of {len(found)} layers have none, such as {lacking[0]}",
                expected="lora_magnitude_vector for every layer, or for none",
                fix="download or convert the file again",
            )
    return Lora(source, {component: layers[component] for component in get_args(Component) if component in layers})


def _make_layer(component: Component, name: str, part: Mapping[str, Tensor], config: JsonObject) -> Layer:
    """The change of a module, from parts that fit one another."""
    magnitude, bias = part.get("magnitude"), part.get("bias")
    alpha = float(part["alpha"]) if "alpha" in part else None
    factors = {key.partition("_")[2]: value for key, value in part.items() if key.startswith(("hada_", "lokr_"))}
    if factors:
        rank = next((len(factors[key]) for key in ("w1_b", "w2_b") if key in factors), None)
        kind = "LoHa" if "hada_w1_a" in part else "LoKr"
        # LyCORIS leaves alpha out of account where nothing has a rank; peft never does.
        scale = 1.0 if alpha is None or rank is None else alpha / rank
        peft_scale = _find_peft_scale(config, component, name, rank) if alpha is None else None
        if peft_scale is not None:  # 0 is one, too
            scale = peft_scale
        return ProductLayer(kind, factors, scale, magnitude, bias)
    if "down" not in part:
        return ProductLayer("full", {"full": part["full"]} if "full" in part else {}, 1.0, magnitude, bias)
    down, up = part["down"], part["up"]
    if alpha is None:
        alpha = _find_peft_alpha(config, component, name, len(down))
    layer = LoraLayer(down, up, alpha, magnitude, bias)
    if "up_bias" in part:  # of the up matrix as a layer, so it is scaled with it
        up_bias = layer.scale * part["up_bias"].float().flatten()
        return replace(layer, bias=up_bias if bias is None else up_bias + bias.float().flatten())
    return layer


def _check_numbers(key: str, tensor: Tensor, source: str) -> None:
    """Raise `WeightsError` for what is no number: files of trainings that failed hold such."""
    is_alpha = key.endswith(".alpha")
    if not is_alpha and not tensor.is_floating_point():
        raise WeightsError(
            "The LoRA file holds whole numbers where fractions belong.",
            received=f"{source}: {shorten(key)} of {str(tensor.dtype).removeprefix('torch.')}",
            expected="float32, bfloat16 or float16",
            fix="use the file before it was quantised",
        )
    if not bool(tensor.float().isfinite().all()):
        raise WeightsError(
            "The LoRA file holds values that are no numbers (NaN or infinite).",
            received=f"{source}: {shorten(key)}",
            expected="numbers; a training that failed leaves such a file",
            fix="use an earlier checkpoint of that training, or download the file again",
        )


def _move_dora_scale(name: str, part: dict[str, Tensor], source: str) -> None:
    """Take kohya's and LyCORIS's name of a magnitude for peft's; theirs may also be one of columns."""
    if "dora_scale" not in part:
        return
    scale = part.pop("dora_scale")
    if scale.ndim > 1 and scale.shape[0] == 1 and scale.shape[1] > 1:
        raise WeightsError(
            "The LoRA file has DoRA's magnitudes for columns, which are not read.",
            received=f"{source}: {name}.dora_scale {list(scale.shape)}",
            expected="magnitudes of rows, [out, 1]",
            fix="train it with wd_on_output, as peft does it",
        )
    part["magnitude"] = scale


def _check_layer(name: str, part: Mapping[str, Tensor], source: str) -> None:
    """Raise unless the matrices of a change are all there, of one kind, and can be multiplied."""
    shapes = {kind: tuple(tensor.shape) for kind, tensor in part.items()}
    matrices = {kind: shape for kind, shape in shapes.items() if kind in _MATRICES or kind[:5] in {"hada_", "lokr_"}}
    rule = next((rule for rule in _RULES if matrices.keys() == set(rule)), None)
    if rule is None and (matrices or "bias" not in shapes):
        raise WeightsError(
            "A layer of the LoRA file is incomplete.",
            received=f"{source}: {name} has only {', '.join(part)}",
            expected="a down and an up matrix for every layer, or all factors of LoHa or LoKr",
            fix="download or convert the file again",
        )
    is_matrix = all(shape[2:] in {(), (1, 1)} and len(shape) > 1 and all(shape[:2]) for shape in matrices.values())
    pairs = ((a, b) for a, b in _PAIRS if a in matrices and b in matrices)
    fits = is_matrix and all(matrices[a][1] == matrices[b][0] for a, b in pairs)
    if fits and "hada_w1_a" in matrices:
        first, second = ((matrices[f"hada_w{i}_a"][0], matrices[f"hada_w{i}_b"][1]) for i in (1, 2))
        fits = first == second
    if fits:
        rows = _count_rows(matrices, shapes)
        counts = {"alpha": 1, "magnitude": rows, "bias": rows, "up_bias": rows}
        fits = all(part[kind].numel() == count for kind, count in counts.items() if kind in part)
    if not fits:
        raise WeightsError(
            "A layer of the LoRA file has shapes that do not fit one another.",
            received=f"{source}: {name} with " + ", ".join(f"{kind} {list(shape)}" for kind, shape in shapes.items()),
            expected="down [rank, in], up [out, rank], alpha [], magnitude [out], bias [out]",
            fix="download or convert the file again",
        )


_LOKR_SIDES = tuple(((f"lokr_w{i}",), (f"lokr_w{i}_a", f"lokr_w{i}_b")) for i in (1, 2))
_RULES: tuple[tuple[str, ...], ...] = (
    ("down", "up"),
    ("full",),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    *((*first, *second) for first in _LOKR_SIDES[0] for second in _LOKR_SIDES[1]),
)
"""The matrices that make a change together."""
_PAIRS = (("up", "down"), *((f"{kind}_w{i}_a", f"{kind}_w{i}_b") for kind in ("hada", "lokr") for i in (1, 2)))
"""Matrices that are multiplied: the columns of the first are the rows of the second."""


def _count_rows(matrices: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Rows of the module's weight."""
    for name in ("up", "full", "hada_w1_a"):
        if name in matrices:
            return matrices[name][0]
    if not matrices:
        return math.prod(shapes["bias"])
    first, second = (matrices.get(f"lokr_w{i}", matrices.get(f"lokr_w{i}_a", (1,)))[0] for i in (1, 2))
    return first * second


# peft's configuration ------------------------------------------------------------------------------------------------


def _parse_peft_config(metadata: Mapping[str, str], source: str) -> JsonObject:
    try:
        config = parse_object(metadata.get(PEFT_METADATA, "{}"), f"{PEFT_METADATA} of {source}")
    except WeightsError as error:
        raise WeightsError(
            "The LoRA file's configuration is damaged.",
            received=f"{source}: {PEFT_METADATA} ({error.received})",
            expected="a JSON object, as peft writes it",
            fix="download or convert the file again",
        ) from error
    if "peft_type" in config:
        config.text("peft_type", accepted=_PEFT_KINDS)
    return config


def _find_peft_alpha(config: JsonObject, component: Component, name: str, rank: int) -> float | None:
    """Look up alpha in the metadata of a peft file, whose fields carry the component's name when it has several."""
    for prefix in (f"{component}.", ""):
        if f"{prefix}lora_alpha" in config:
            alpha = _find_value(config, f"{prefix}lora_alpha", f"{prefix}alpha_pattern", name)
            is_scaled = config.boolean(f"{prefix}use_rslora", default=False)
            return alpha * math.sqrt(rank) if is_scaled else alpha
    return None


def _find_peft_scale(config: JsonObject, component: Component, name: str, rank: int | None) -> float | None:
    """The scale of LoHa and LoKr in a peft file, whose rank stands in the metadata where the matrices have none."""
    for prefix in (f"{component}.", ""):
        if f"{prefix}alpha" in config:
            alpha = _find_value(config, f"{prefix}alpha", f"{prefix}alpha_pattern", name)
            own = rank or (
                _find_value(config, f"{prefix}r", f"{prefix}rank_pattern", name) if f"{prefix}r" in config else 0
            )
            return alpha / own if own else None
    return None


def _find_value(config: JsonObject, field: str, exceptions: str, name: str) -> float:
    """A number for a module: of the first pattern that matches its path, else the one for all."""
    patterns = config.object(exceptions, {})
    for pattern in patterns:
        # A pattern of others may take years to try.
        if len(re.findall(r"[*+{?]", pattern)) > _MAX_QUANTIFIERS:
            raise patterns.refuse(shorten(pattern), pattern, f"at most {_MAX_QUANTIFIERS} repetitions in a pattern")
        try:
            if re.match(rf"(.*\.)?({pattern})$", name):
                return patterns.number(pattern)
        except re.error as error:
            raise patterns.refuse(shorten(pattern), error, "a regular expression, as peft writes it") from error
    return config.number(field)


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


def refuse_dora(layer: Layer, source: str) -> None:
    """Raise `WeightsError` for a change that has no place in the original's format: anything but plain LoRA."""
    if layer.kind != "LoRA" or layer.bias is not None:
        kind = "biases" if layer.kind == "LoRA" else layer.kind
        raise WeightsError(
            f"The original's format cannot hold {kind}.",
            received=f"{source}: layers with {'lora_magnitude_vector' if kind == 'DoRA' else kind}",
            expected="a LoRA without magnitudes, biases and other products",
            fix="keep it as it is; --lora reads it",
        )
