"""What to do when memory does not suffice."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from easyanimate_core.errors import RequestError
from easyanimate_core.machine import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from easyanimate_train.task import TrainingTask


@contextmanager
def explain_memory(task: TrainingTask) -> Iterator[None]:
    """Turn an allocation that failed into an error that says which setting saves how much."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # The CPU's allocator raises a plain RuntimeError.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise RequestError(
            "There is not enough memory for this training.",
            received=str(error).splitlines()[0][:200],
            fix="\n            ".join(["one of these, the first saves most:", *task.advise()]),
        ) from error


ALIGNMENT = 64
"""Bytes; what PyTorch allocates begins at a multiple."""


def align(module: nn.Module) -> None:
    """Move tensors to where PyTorch would have allocated them.

    Those that were read from a file may begin anywhere, and the last bits of what a CPU computes depend on it.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def count_bytes(module: nn.Module | None) -> int:
    """Size of the parameters and buffers of a module."""
    if module is None:
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def count_values(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters)


def advise(savings: dict[str, int]) -> list[str]:
    """A line for each setting that saves something, the most first."""
    ranked = sorted(savings.items(), key=lambda item: -item[1])
    return [f"{setting} saves {format_bytes(size)}" for setting, size in ranked if size > 0]
