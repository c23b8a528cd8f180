"""Peak memory of a computation, counted on fake tensors: no weights, no accelerator, any size.

    with StorageTracker() as tracker:
        model = build_model()          # every tensor made in here is fake and counted while it lives; build it in its
                                       # dtype (torch.set_default_dtype): fake weights cannot be converted
        tracker.reset_peak()
        model(inputs)
    print(tracker.peak / 1e9)

Counted are the bytes of live tensor storages. Not counted: scratch memory inside a kernel, and what an allocator
keeps back.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


class StorageTracker(TorchDispatchMode):
    """Bytes of all storages that live (`live`), the most there were (`peak`), and the operator then (`at`)."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self.at = ""
        self._known: set[int] = set()
        self._fake = FakeTensorMode()

    def __enter__(self) -> StorageTracker:  # noqa: PYI034 - the base class says the same
        """Make tensors fake first, so that the tracker sees the fake ones."""
        self._fake.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave both modes."""
        super().__exit__(kind, error, trace)
        self._fake.__exit__(kind, error, trace)

    def reset_peak(self) -> None:
        """Start to measure from what lives now."""
        self.peak = self.live

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and count what it makes."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_iter(out):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage(), str(func))
        return out

    def _count(self, storage: torch.UntypedStorage, operator: str) -> None:
        key = id(storage)
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        if self.live > self.peak:
            self.peak, self.at = self.live, operator
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
