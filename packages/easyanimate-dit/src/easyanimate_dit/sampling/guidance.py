"""Classifier-free guidance, as one batch or one branch after the other.

Axes: B videos, C channels, t frames, h height, w width of the latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from easyanimate_core.interfaces import VideoTransformer
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """How the predictions for the negative and the positive prompt are mixed.

    Args:
        scale: 1 or less: only the positive prompt counts, and the transformer runs once per step.
        rescale: Weight of the result whose deviation is brought back to that of the positive prediction.
        batched: Both branches in one batch. The same result; more memory, and faster only for small clips.
    """

    scale: float
    rescale: float = 0.0
    batched: bool = False

    @property
    def active(self) -> bool:
        """Whether there is a negative branch."""
        return self.scale > 1

    def mix(self, negative: Float[Tensor, "*axes"] | None, positive: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """The guided prediction; the positive one where there is no negative one.

        Source: Ho and Salimans, arXiv 2207.12598, equation 6; rescaling: Lin et al., arXiv 2305.08891, section 3.4.
        """
        if negative is None:
            return positive
        mixed = negative + self.scale * (positive - negative)
        if self.rescale > 0:
            axes = tuple(range(1, mixed.ndim))
            matched = mixed * (positive.std(dim=axes, keepdim=True) / mixed.std(dim=axes, keepdim=True))
            mixed = self.rescale * matched + (1 - self.rescale) * mixed
        return mixed


@dataclass(frozen=True)
class ForwardInputs:
    """Arguments of every forward pass of a run.

    Args:
        per_video: Arguments with a batch axis, [1 or B, ...].
        shared: Arguments without one.
    """

    per_video: Mapping[str, Tensor]
    shared: Mapping[str, Any]


@dataclass(frozen=True)
class Branches:
    """The transformer with everything that stays the same over the steps of a run.

    Args:
        transformer: The denoiser.
        conditions: Encoded conditions of each branch: "cond", "uncond", or "cond_uncond" (negative half first).
        inputs: Arguments of every forward pass.
    """

    transformer: VideoTransformer
    conditions: Mapping[str, Any]
    inputs: ForwardInputs

    def run(
        self, branch: str, latents: Float[Tensor, "B C t h w"], timestep: Float[Tensor, ""]
    ) -> Float[Tensor, "B C t h w"]:
        """The first C channels of the transformer's answer."""
        batch = latents.shape[0]
        per_video = {name: _spread(value, batch) for name, value in self.inputs.per_video.items()}
        with self.transformer.cache_context(branch):
            sample = self.transformer(
                latents,
                timestep.expand(batch),
                condition=self.conditions[branch],
                **per_video,
                **self.inputs.shared,
                return_dict=False,
            )[0]
        return sample[:, : latents.shape[1]]

    def predict(
        self, latents: Float[Tensor, "B C t h w"], timestep: Float[Tensor, ""], guidance: Guidance
    ) -> tuple[Float[Tensor, "B C t h w"] | None, Float[Tensor, "B C t h w"]]:
        """The predictions for the negative and the positive prompt; without guidance there is no negative one."""
        if not guidance.active:
            return None, self.run("cond", latents, timestep)
        if guidance.batched:
            negative, positive = self.run("cond_uncond", torch.cat([latents, latents]), timestep).chunk(2)
            return negative, positive
        return self.run("uncond", latents, timestep), self.run("cond", latents, timestep)


def _spread(value: Tensor, batch: int) -> Tensor:
    """[1 or B, ...] to [batch, ...]; guidance as one batch has twice the videos."""
    if value.shape[0] == 1:
        return value.expand(batch, *value.shape[1:])
    return value.repeat(batch // value.shape[0], *[1] * (value.ndim - 1))
