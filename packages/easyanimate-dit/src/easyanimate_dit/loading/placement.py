"""How the models of a pipeline share a device: all there, or only while they work."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from diffusers.hooks.group_offloading import apply_group_offloading
from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

_ACTIVATION_BYTES = 4_500_000_000
"""Device memory that a run needs beside weights: what decoding one tile takes."""


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
