"""Clips that are given in part: what is kept and what is generated.

Axes: B videos, C channels, T frames, H height, W width in pixels; t, h, w the same in latents. A mask is 1 where the
clip is generated and 0 where it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from easyanimate_core.errors import RequestError
from easyanimate_core.shapes import LatentShape
from torch import Tensor
from torch.nn import functional

from easyanimate_dit.sampling.noise import NoiseUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_core.interfaces import Scheduler
    from easyanimate_core.shapes import PixelShape

    from easyanimate_dit.sampling.latent import LatentCodec
    from easyanimate_dit.sampling.noise import NoiseSource
    from easyanimate_dit.sampling.text import Conditions


@dataclass(frozen=True)
class GivenClip:
    """A clip and which part of it to generate, on the CPU.

    Args:
        pixels: [B, 3, T, H, W] in [-1, 1].
        mask: [B, 1, T, H, W], 1 generates, 0 keeps; None generates everything.
    """

    pixels: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class SourceLatents:
    """What a run starts from.

    Args:
        clip: Latents [B or 1, C, t, h, w] of the given clip; None where nobody needed them.
        noise: The initial noise [B, C, t, h, w].
    """

    clip: Tensor | None
    noise: Tensor


@dataclass(frozen=True)
class KeptPart:
    """The part of a clip that a plain transformer knows nothing of, and which is put back after every step.

    Args:
        clip: Latents [B, C, t, h, w].
        noise: The initial noise [B, C, t, h, w].
        mask: [B or 1, 1, t, h, w], 1 generates, 0 keeps, between them the borders.
    """

    clip: Tensor
    noise: Tensor
    mask: Tensor

    def put_back(self, latents: Tensor, scheduler: Scheduler, next_timestep: Tensor | None) -> Tensor:
        """Replace the kept part of latents by the clip with noise of the next timestep; None stands for no noise."""
        kept = self.clip
        if next_timestep is not None:
            kept = scheduler.add_noise(self.clip, self.noise, next_timestep[None])
        return (1 - self.mask) * kept + self.mask * latents


class Inpainter(Protocol):
    """How a transformer is made to keep the given part of a clip."""

    needs_source: bool
    """Whether `SourceLatents.clip` is needed."""

    def condition(
        self,
        given: GivenClip | None,
        shape: Sequence[int],
        codec: LatentCodec,
        noise: NoiseSource,
        *,
        device: torch.device,
    ) -> Conditions:
        """Arguments of every forward pass, [B or 1, ...], for latents of this shape [B, C, t, h, w]."""
        ...

    def keep(self, given: GivenClip | None, source: SourceLatents) -> KeptPart | None:
        """What is put back into the latents after every step; None for nothing."""
        ...


class ChannelInpainter:
    """InP transformers take latents of the mask and of the masked clip as further channels."""

    needs_source = False

    def condition(
        self,
        given: GivenClip | None,
        shape: Sequence[int],
        codec: LatentCodec,
        noise: NoiseSource,
        *,
        device: torch.device,
    ) -> Conditions:
        """`inpaint_latents` [1 or B, 2 C, t, h, w]: plain zeros when everything is generated; see `Inpainter`."""
        if given is None or given.mask is None or bool((given.mask == 1).all()):
            zeros = torch.zeros(1, 2 * shape[1], *shape[2:], device=device)
            return {"inpaint_latents": zeros}
        return {"inpaint_latents": code_masked_clip(given.pixels, given.mask, codec, noise, device=device)}

    def keep(self, given: GivenClip | None, source: SourceLatents) -> None:
        """Nothing: the transformer keeps the given part by itself."""


class CodedMaskInpainter(ChannelInpainter):
    """InP transformers of V3: as `ChannelInpainter`, but a clip of which nothing is given is coded, too: as black."""

    def condition(
        self,
        given: GivenClip | None,
        shape: Sequence[int],
        codec: LatentCodec,
        noise: NoiseSource,
        *,
        device: torch.device,
    ) -> Conditions:
        """`inpaint_latents` [1 or B, 2 C, t, h, w]; see `Inpainter`."""
        if given is None:
            size = codec.shapes.pixel_shape(LatentShape(*shape[2:]))
            given = GivenClip(torch.full((1, 3, size.num_frames, size.height, size.width), -1.0), None)
        mask = torch.ones_like(given.pixels[:, :1]) if given.mask is None else given.mask
        return {"inpaint_latents": code_masked_clip(given.pixels, mask, codec, noise, device=device)}


def code_masked_clip(
    pixels: Tensor, mask: Tensor, codec: LatentCodec, noise: NoiseSource, *, device: torch.device
) -> Tensor:
    """Latents [B, 2 C, t, h, w] of a mask [B, 1, T, H, W] and of a clip whose generated pixels are black.

    The mask is coded like a clip, as 0 and 1.
    """
    mask = mask.expand(-1, 3, -1, -1, -1)
    mask_latents = codec.encode(mask, noise, NoiseUse.MASK, device=device)
    clip_latents = codec.encode(torch.where(mask == 1, -1.0, pixels), noise, NoiseUse.MASKED_CLIP, device=device)
    return torch.cat([mask_latents, clip_latents], dim=1)


class BlendInpainter:
    """Plain transformers: after every step the kept part is replaced by the clip with noise of the next timestep."""

    needs_source = True

    def condition(
        self,
        given: GivenClip | None,
        shape: Sequence[int],
        codec: LatentCodec,
        noise: NoiseSource,
        *,
        device: torch.device,
    ) -> Conditions:
        """No arguments: such a transformer knows nothing of the given clip."""
        del given, shape, codec, noise, device
        return {}

    def keep(self, given: GivenClip | None, source: SourceLatents) -> KeptPart | None:
        """The kept part of the clip; see `Inpainter`."""
        if given is None or given.mask is None or source.clip is None:
            return None
        clip = source.clip.to(source.noise.dtype).expand_as(source.noise)
        mask = functional.interpolate(given.mask, size=clip.shape[2:], mode="trilinear", align_corners=True)
        return KeptPart(clip, source.noise, mask.to(clip.device, clip.dtype))


def prepare_clip(video: Tensor | np.ndarray, mask: Tensor | np.ndarray | None, pixels: PixelShape) -> GivenClip:
    """Bring a clip and its mask to size.

    Args:
        video: Pixels [B, 3, T, H, W] in [0, 1], or uint8 [T, H, W, 3].
        mask: [B, 1, T, H, W] in 0 to 255, or uint8 [T or 1, H, W]: 0 keeps, anything else generates.
        pixels: The size of the clip that is made.

    Raises:
        RequestError: the number of frames is not that of the clip.
    """
    if isinstance(video, np.ndarray):
        video = torch.from_numpy(np.array(video)).permute(3, 0, 1, 2)[None] / 255
    clip = _resize(video.float().cpu(), pixels, "video") * 2 - 1
    if mask is None:
        return GivenClip(clip, None)
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(np.array(mask))[None, None].float()
    if mask.shape[2] == 1:
        mask = mask.expand(-1, -1, pixels.num_frames, -1, -1)
    return GivenClip(clip, (_resize(mask.float().cpu(), pixels, "mask") >= 0.5).float())  # noqa: PLR2004


def _resize(video: Tensor, pixels: PixelShape, name: str) -> Tensor:
    """Nearest-neighbour resize of [B, C, T, H, W] in space."""
    if video.shape[2] != pixels.num_frames:
        raise RequestError(
            f"The {name} has another number of frames than the clip.",
            received=f"{video.shape[2]} frames",
            expected=f"{pixels.num_frames} frames",
        )
    if video.shape[3:] == (pixels.height, pixels.width):
        return video
    size = (pixels.num_frames, pixels.height, pixels.width)
    return functional.interpolate(video, size=size, mode="nearest")
