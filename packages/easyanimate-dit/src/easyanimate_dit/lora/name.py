"""What the names of tensors in LoRA files say: of which component and module, and which part of its change.

The original's: `lora_unet__blocks_0_attn1_to_q.lora_down.weight`, `.lora_up.weight`, `.alpha`; peft's:
`transformer.blocks.0.attn1.to_q.lora_A.weight`, `lora_B.weight`, with DoRA `lora_magnitude_vector`. Other tools put
their own words before a module (ComfyUI, ai-toolkit, diffusion-pipe, OneTrainer, torch.compile, DDP), and names of
adapters behind.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import shorten

Component = Literal["transformer", "text_encoder"]
ORIGINAL_PREFIXES: dict[Component, str] = {"transformer": "lora_unet__", "text_encoder": "lora_te_"}
"""What the original's files have before the name of a module."""

_FLAT_PREFIXES: dict[str, Component] = {
    "lora_unet_": "transformer",
    "lora_transformer_": "transformer",  # OneTrainer
    "lora_te_": "text_encoder",
}
_WRAPPERS = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "module.")
"""What tools put before a path: peft, ComfyUI and ai-toolkit, diffusion-pipe, DDP."""
_COMPILED = re.compile(r"(^|\.)_orig_mod(?=\.)")
_FLAT_WRAPPERS = ("diffusion_model_", "_orig_mod_", "module_")

_ADAPTER = r"(\.(?!weight$|bias$)[^.]+)?"
_SUFFIXES: tuple[tuple[str, str], ...] = (
    (r"\.lora_down\.weight|\.lora\.down\.weight", "down"),
    (r"\.lora_up\.weight|\.lora\.up\.weight", "up"),
    (rf"\.lora_A{_ADAPTER}\.weight", "down"),
    (rf"\.lora_B{_ADAPTER}\.weight", "up"),
    (rf"\.lora_B{_ADAPTER}\.bias|\.lora_up\.bias", "up_bias"),
    (r"\.alpha", "alpha"),
    (rf"\.lora_magnitude_vector{_ADAPTER}(\.weight)?", "magnitude"),
    (r"\.dora_scale", "dora_scale"),
    (r"\.diff_b", "bias"),
    (r"\.diff", "full"),
    (rf"\.(?P<product>hada_w[12]_[ab]|lokr_w[12](_[ab])?){_ADAPTER}", ""),
)
_ENDINGS = tuple((re.compile(rf"(?P<name>.+?)({pattern})"), part) for pattern, part in _SUFFIXES)
_OTHER_KINDS = {
    "OFT": r"\.oft_|\.boft_",
    "IA3": r"\.ia3_|\.on_input$",
    "VeRA": r"\.vera_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "a Tucker decomposition": r"\.(hada_t[12]|lokr_t2|lora_mid\.weight)",
    "whole modules beside the LoRA": r"\.modules_to_save\.",
}
"""Kinds of changes that are not read, by names that only they have."""
_OTHER_TEXT_ENCODER = re.compile(r"lora_te\d+_|text_encoder_\d+\.")


class LoraKey(NamedTuple):
    """What a tensor's name says."""

    component: Component
    name: str
    """Of the module, as the file writes it: with dots, or with underscores."""
    part: str
    """"down", "up", "alpha", "magnitude", "dora_scale", "up_bias", "bias" or "full"; of LoHa and LoKr as in the files:
    "hada_w1_a", "lokr_w2", ..."""


def name_original(component: Component, path: str) -> str:
    """Name of a module in the original's files: `blocks.0.attn1.to_q` is `lora_unet__blocks_0_attn1_to_q`."""
    return ORIGINAL_PREFIXES[component] + path.replace(".", "_")


def split_key(key: str, *, source: str) -> LoraKey:
    """Tell component, module and part of a tensor from its name.

    Raises:
        WeightsError: the tensor belongs to no LoRA, to a kind that is not read, or to a text encoder that takes none.
    """
    match, part = next(((found, part) for ending, part in _ENDINGS if (found := ending.fullmatch(key))), (None, ""))
    if match is None:
        raise _no_lora(key, source)
    part = part or match["product"]
    name = _unwrap(match["name"])
    if _OTHER_TEXT_ENCODER.match(name):
        raise WeightsError(
            "The LoRA file changes a text encoder that takes no LoRA.",
            received=f"{source}: {shorten(key)}",
            expected="layers of the transformer (lora_unet__...) and of the first text encoder (lora_te_...)",
            fix="use a LoRA of the transformer, and of the first text encoder at most",
        )
    for prefix, component in _FLAT_PREFIXES.items():
        if name.startswith(prefix):
            flat = name.removeprefix(prefix)
            for wrapper in _FLAT_WRAPPERS:
                flat = flat.removeprefix("_").removeprefix(wrapper.removeprefix("_"))
            return LoraKey(component, flat.removeprefix("_"), part)
    for component in ORIGINAL_PREFIXES:
        if name.startswith(f"{component}."):
            return LoraKey(component, _unwrap(name.removeprefix(f"{component}.")), part)
    return LoraKey("transformer", name, part)


def _unwrap(name: str) -> str:
    """The path without what wrappers of modules put before and into it."""
    name = _COMPILED.sub(r"\1", name).removeprefix(".").replace("..", ".")
    while True:
        wrapper = next((wrapper for wrapper in _WRAPPERS if name.startswith(wrapper)), None)
        if wrapper is None:
            return name
        name = name.removeprefix(wrapper)


def _no_lora(key: str, source: str) -> WeightsError:
    kind = next((kind for kind, pattern in _OTHER_KINDS.items() if re.search(pattern, key)), None)
    if kind is not None:
        return WeightsError(
            f"The file changes a model by {kind}, which is not read.",
            received=f"{source}: a tensor {shorten(key)}",
            expected="LoRA, DoRA, LoHa or LoKr",
            fix="merge it in the tool that it is of, or train a LoRA",
        )
    return WeightsError(
        "This is not a LoRA file.",
        received=f"{source}: a tensor {shorten(key)}",
        expected="names that end in .lora_down.weight, .lora_A.weight, .hada_w1_a, .lokr_w1 and the like",
        fix="give whole checkpoints with --weights",
    )
