"""The models that are not trained: on the device all the time, or only while they work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from easyanimate_torch.device import choose_vae_dtype
from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

_ROLES = ("vae", "text_encoder", "text_encoder_2", "image_encoder")


class Visitor:
    """Encoders and VAE of a pipeline.

    Args:
        pipeline: Has them.
        stays: Whether they stay on the device.
        dtype: Number format to keep them in; None leaves them as they are.
        without: Models that are trained, and not visitors.
    """

    def __init__(
        self,
        pipeline: EasyAnimatePipeline,
        *,
        stays: bool,
        dtype: torch.dtype | None = None,
        without: Sequence[str] = (),
    ) -> None:
        found = {role: getattr(pipeline, role, None) for role in _ROLES if role not in without}
        self.modules: dict[str, nn.Module] = {role: model for role, model in found.items() if model is not None}
        self._stays = stays
        self.device = torch.device("cpu")
        for role, model in self.modules.items():
            model.eval().requires_grad_(requires_grad=False)
            if dtype is not None:
                with silence_libraries():
                    model.to(choose_vae_dtype(dtype) if role == "vae" else dtype)

    def move(self, device: torch.device) -> None:
        """The device is this one from now on."""
        self.device = device
        self._place(self.modules, device if self._stays else torch.device("cpu"))

    @contextmanager
    def visit(self, *roles: str) -> Iterator[None]:
        """These are on the device within the body."""
        if self._stays or self.device.type == "cpu":
            yield
            return
        self._place(roles, self.device)
        try:
            yield
        finally:
            self._place(roles, torch.device("cpu"))

    def _place(self, roles: Iterator[str] | object, device: torch.device) -> None:
        with silence_libraries():
            for role in roles:  # pyright: ignore[reportGeneralTypeIssues]
                if role in self.modules:
                    self.modules[role].to(device)
