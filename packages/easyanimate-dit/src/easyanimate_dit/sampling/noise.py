"""The one source of randomness of a run: initial latents, posterior draws of the VAE and sampler noise.

Axes: B batch; every draw is standard normal, made in float32 where the generator lives (the CPU), then moved, so that a
seed means the same on every device and in every dtype.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoiseUse(StrEnum):
    """What a draw is for."""

    INITIAL = "initial"
    SOURCE = "source"
    MASK = "mask"
    MASKED_CLIP = "masked clip"
    STEP = "step"
    SMOOTHING = "smoothing"


@runtime_checkable
class NoiseSource(Protocol):
    """Gives all noise of a run. A test replaces it to replay recorded draws."""

    @property
    def generator(self) -> torch.Generator | None:
        """For samplers of other packages that draw by themselves."""
        ...

    def draw(self, shape: Sequence[int], use: NoiseUse, *, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """Standard normal noise of this shape; the first axis is the batch."""
        ...


class SeededNoise:
    """Noise from one generator, or from one per video of the batch.

    Args:
        generator: One generator for everything; or one per video, so that each video of a batch is the one that its
            seed makes alone (what the whole batch shares is drawn from the first); None draws a fresh seed.
    """

    def __init__(self, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> None:
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        self._generators = [generator] if isinstance(generator, torch.Generator) else list(generator)

    @property
    def generator(self) -> torch.Generator:
        """The generator of the first video."""
        return self._generators[0]

    def draw(self, shape: Sequence[int], use: NoiseUse, *, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """Standard normal noise; see `NoiseSource`. What it is for makes no difference."""
        del use
        if len(self._generators) > 1 and shape[0] == len(self._generators):
            noise = torch.cat([_draw([1, *shape[1:]], generator) for generator in self._generators])
        else:
            noise = _draw(shape, self._generators[0])
        if torch.device(device).type == "cuda" and noise.device.type == "cpu":
            noise = noise.pin_memory()  # so that the copy does not hold up the host
        return noise.to(device, non_blocking=True).to(dtype)


def _draw(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=torch.float32)
