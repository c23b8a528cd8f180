"""Where a pipeline runs and in which precision: chosen from the machine unless the user says."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from diffusers.hooks.group_offloading import apply_group_offloading
from easyanimate_core.errors import RequestError

from easyanimate_dit.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_dit.pipeline import EasyAnimatePipeline

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

_ACTIVATION_BYTES = 4_500_000_000
"""Device memory that a run needs beside weights: what decoding one tile takes."""


def choose_device(name: str | None) -> torch.device:
    """The device called `name`, or the best there is.

    Raises:
        RequestError: there is no such device on this machine.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, index = name.partition(":")
    if not here.get(kind) or (index and (not index.isdigit() or int(index) >= torch.cuda.device_count())):
        raise RequestError(
            "There is no such device on this machine.",
            received=name,
            expected=", ".join(kind for kind, is_here in here.items() if is_here),
            fix="`ea doctor` shows what this machine has",
        )
    return torch.device(name)


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype called `name`, or the device's: bfloat16 on GPUs that have it, else float16; float32 on the CPU.

    Raises:
        RequestError: there is no such dtype.
    """
    if name is not None:
        if name not in _DTYPES:
            raise RequestError("There is no such dtype.", received=name, expected=", ".join(_DTYPES))
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def choose_vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """The VAE's dtype beside a transformer in `dtype`: the VAE overflows in float16, so it stays in float32 then."""
    return torch.float32 if dtype == torch.float16 else dtype


class Placement(StrEnum):
    """How models share a device."""

    WHOLE = "all models stay there"
    BY_MODEL = "a model is there while it works"
    BY_LAYER = "a layer is there while it works"


def choose_placement(model_bytes: Sequence[int], free_bytes: int) -> Placement:
    """What fits beside the activations of a run.

    Args:
        model_bytes: Size of each model.
        free_bytes: Free memory of the device.
    """
    free_bytes -= _ACTIVATION_BYTES
    if sum(model_bytes) <= free_bytes:
        return Placement.WHOLE
    return Placement.BY_MODEL if max(model_bytes) <= free_bytes else Placement.BY_LAYER


def place_pipeline(pipeline: EasyAnimatePipeline, device: torch.device) -> Placement:
    """Move the models to the device; where a GPU does not hold them all, only while they are needed."""
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    placement = Placement.WHOLE
    if device.type == "cuda":
        sizes = [_count_bytes(model) for model in models]
        placement = choose_placement(sizes, torch.cuda.mem_get_info(device)[0])
    if placement is Placement.WHOLE:
        with silence_libraries():
            pipeline.to(device)
    elif placement is Placement.BY_MODEL:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        offload_layers(models, device)
    return placement


def offload_layers(models: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Keep weights on the CPU and bring each layer to the device for its turn, the next one on a stream of its own."""
    for model in models:
        # Leaves, not blocks: a VAE is entered through `encode` and `decode_chunks`, past the hooks of the whole model.
        apply_group_offloading(model, device, offload_type="leaf_level", use_stream=device.type == "cuda")


def _count_bytes(model: torch.nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
