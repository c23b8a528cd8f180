"""Threads on the processor: how many OpenMP computes with, and how they wait for each other.

OpenMP reads its environment once, when PyTorch is imported; so commands call this before.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from easyanimate_core.control_group import read_processor_limit
from easyanimate_core.errors import RequestError
from easyanimate_core.machine import count_processors

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_COUNTING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def prepare_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what the environment leaves open: threads sleep while they wait, and are as many as the limits allow.

    Threads that wait in a loop take the time that the thread they wait for needs when another program runs: clips then
    take 10 times as long. OpenMP knows the processors of a machine, but no limit of a container.

    Args:
        environment: What programs that are imported or started later see.
    """
    if not any(name in environment for name in _WAITING):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    if not any(name in environment for name in _COUNTING) and read_processor_limit() is not None:
        environment["OMP_NUM_THREADS"] = str(count_processors())


def set_threads(count: int) -> None:
    """Compute with so many threads, also in programs that are started later.

    Raises:
        RequestError: There are not so many processors.
    """
    processors = count_processors()
    if not 1 <= count <= processors:
        raise RequestError(
            "So many threads are not possible.",
            received=f"--threads {count}",
            expected=f"1 to {processors}, the processors that this process may use",
        )
    os.environ.update(dict.fromkeys(_COUNTING, str(count)))
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def count_threads() -> int | None:
    """Threads that PyTorch computes with; None where it is not imported."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())
