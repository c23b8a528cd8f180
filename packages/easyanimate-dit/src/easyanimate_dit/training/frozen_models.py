"""The models that are used in training but not trained: on the device all the time, or only while they are used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from easyanimate_torch.device import choose_vae_dtype
from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import nn

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

_COMPONENTS = ("vae", "text_encoder", "text_encoder_2", "image_encoder")

CPU = torch.device("cpu")


class FrozenModels:
    """VAE and encoders of a pipeline, without gradients.

    Args:
        pipeline: The pipeline.
        keep_on_device: Whether they are on the device all the time.
        dtype: Number format that they are converted to; None leaves them as they are.
        exclude: Names of components that are trained.
    """

    def __init__(
        self,
        pipeline: EasyAnimatePipeline,
        *,
        keep_on_device: bool,
        dtype: torch.dtype | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        found = {name: getattr(pipeline, name, None) for name in _COMPONENTS if name not in exclude}
        self.modules: dict[str, nn.Module] = {name: module for name, module in found.items() if module is not None}
        """The models by their names in the pipeline."""
        self._keep_on_device = keep_on_device
        self.device = CPU
        """The device that they work on, where they may or may not be at the moment."""
        for name, module in self.modules.items():
            module.eval().requires_grad_(requires_grad=False)
            if dtype is not None:
                with silence_libraries():
                    module.to(choose_vae_dtype(dtype) if name == "vae" else dtype)

    def move(self, device: torch.device) -> None:
        """Set the device that they work on, and move them there or to the CPU."""
        self.device = device
        self._move(self.modules, device if self._keep_on_device else CPU)

    @contextmanager
    def on_device(self, *names: str) -> Iterator[None]:
        """A context in which these models are on the device."""
        if self._keep_on_device:
            yield
            return
        self._move(names, self.device)
        try:
            yield
        finally:
            self._move(names, CPU)

    def _move(self, names: Iterable[str], device: torch.device) -> None:
        with silence_libraries():
            for name in names:
                if name in self.modules:
                    self.modules[name].to(device)
