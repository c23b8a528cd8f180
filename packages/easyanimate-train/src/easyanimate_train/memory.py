"""Sizes of models in memory, and advice when it runs out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError
from easyanimate_core.machine import format_bytes
from easyanimate_core.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from easyanimate_train.task import TrainingTask


@contextmanager
def explain_memory(task: TrainingTask) -> Iterator[None]:
    """Turn a failed allocation into an error that names the settings that save memory, and how much."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RequestError(
            "Not enough memory for this training.",
            received=str(error).splitlines()[0][:200],
            fix="\n            ".join(["try one of these, the first saves most:", *task.advise()]),
        ) from error


def enable_gradient_checkpointing(model: Any) -> None:
    """Let a model of diffusers recompute activations in the backward pass.

    Raises:
        RequestError: Its class does not support that.
    """
    try:
        model.enable_gradient_checkpointing()
    except ValueError as error:
        raise RequestError(
            "The model does not support gradient checkpointing.",
            received=f"gradient_checkpointing with a {type(model).__name__}",
            expected="a model that says _supports_gradient_checkpointing = True, and does it",
            fix="leave gradient_checkpointing out",
        ) from error


ALIGNMENT = 64
"""PyTorch allocates at addresses that are multiples of this many bytes."""


def align(module: nn.Module) -> None:
    """Copy tensors whose memory is not aligned as PyTorch aligns its own.

    Tensors read from a file may lie at any address, and the last bits of CPU results depend on it.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def count_bytes(module: nn.Module | None) -> int:
    """Size of a module's parameters and buffers in bytes."""
    if module is None:
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def count_values(parameters: Iterable[nn.Parameter]) -> int:
    """Number of values in the parameters."""
    return sum(parameter.numel() for parameter in parameters)


def advise(savings: dict[str, int]) -> list[str]:
    """A line for each setting that saves memory, the largest saving first.

    Args:
        savings: Bytes that each setting would save.
    """
    ranked = sorted(savings.items(), key=lambda item: -item[1])
    return [f"{setting} saves {format_bytes(size)}" for setting, size in ranked if size > 0]
