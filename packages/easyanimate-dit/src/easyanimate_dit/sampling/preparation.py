"""What a run encodes once, before its first step.

Axes: B videos, C channels, T frames, H height, W width in pixels; t, h, w the same in latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError

from easyanimate_dit.sampling.conditioning import ImageConditioning, MetaSize
from easyanimate_dit.sampling.guidance import Branches, RunInputs
from easyanimate_dit.sampling.inpaint import SourceLatents
from easyanimate_dit.sampling.noise import NoiseUse

if TYPE_CHECKING:
    from easyanimate_core.shapes import PixelShape
    from torch import Tensor

    from easyanimate_dit.sampling.conditioning import ImageConditioner, Picture, SizeConditioner
    from easyanimate_dit.sampling.inpaint import Blend, GivenClip, Inpainter
    from easyanimate_dit.sampling.latent import LatentCodec
    from easyanimate_dit.sampling.noise import NoiseSource
    from easyanimate_dit.sampling.text import Conditions, TextConditioner


@dataclass(frozen=True)
class VersionParts:
    """What differs between model versions, as objects that know one thing each.

    Args:
        text: Prompts to the transformer's text arguments.
        size: Sizes and tables that the transformer is told.
        codec: Pixels to latents and back.
        inpaint: How a clip that is given in part is kept; None for a version that cannot.
        image: What a reference picture becomes; None for a version that takes none.
        image_frames: Frames that a start image, or an end image, stands for.
        image_share: Share of the steps, the last ones, in which a reference picture acts unless a call says otherwise.
    """

    text: TextConditioner
    size: SizeConditioner
    codec: LatentCodec
    inpaint: Inpainter | None = None
    image: ImageConditioner | None = None
    image_frames: int = 1
    image_share: float = 0.5


@dataclass(frozen=True)
class Prompts:
    """Text arguments of the transformer, [B, ...]; without guidance there is no negative one."""

    positive: Conditions
    negative: Conditions | None

    def __len__(self) -> int:
        """The number of videos."""
        return len(next(iter(self.positive.values())))


@dataclass(frozen=True)
class Preparation:
    """Encodes what stays the same over the steps of a run.

    Args:
        parts: How the model version does it.
        transformer: The denoiser; conditions and latents are made in its dtype.
        device: Where the run is.
        noise: All randomness.
        shape: [B, C, t, h, w] of the latents.
    """

    parts: VersionParts
    transformer: Any
    device: torch.device
    noise: NoiseSource
    shape: tuple[int, int, int, int, int]

    def prepare_source(self, given: GivenClip | None, latents: Tensor | None, *, needs_clip: bool) -> SourceLatents:
        """Draw the initial noise, and encode the given clip where somebody needs it."""
        dtype = self.transformer.dtype
        if latents is None:
            latents = self.noise.draw(self.shape, NoiseUse.INITIAL, device=self.device, dtype=dtype)
        elif tuple(latents.shape) != self.shape:
            raise RequestError("The initial latents do not fit.", received=list(latents.shape), expected=self.shape)
        clip = None
        if given is not None and (needs_clip or (self.parts.inpaint is not None and self.parts.inpaint.needs_source)):
            clip = self.parts.codec.encode(given.pixels, self.noise, NoiseUse.SOURCE, device=self.device)
            clip = clip.to(dtype).expand(self.shape)
        return SourceLatents(clip, latents.to(self.device, dtype))

    def prepare_inputs(self, given: GivenClip | None) -> RunInputs:
        """Encode the arguments of every forward pass."""
        tables = self.parts.size.make_tables(*self.shape[-2:], device=self.device)
        if self.parts.inpaint is None:
            return RunInputs({}, tables)
        encoded = self.parts.inpaint.condition(given, self.shape, self.parts.codec, self.noise, device=self.device)
        return RunInputs({name: value.to(self.transformer.dtype) for name, value in encoded.items()}, tables)

    def prepare_blend(self, given: GivenClip | None, source: SourceLatents, scheduler: Any) -> Blend | None:
        """What is done to the latents after every step."""
        if self.parts.inpaint is None:
            return None
        return self.parts.inpaint.make_blend(given, source, scheduler)

    def prepare_branches(
        self, prompts: Prompts, pixels: PixelShape, picture: Picture | None, meta: MetaSize | None
    ) -> tuple[dict[str, Conditions], dict[str, Conditions]]:
        """The conditions of each guidance branch, without and with the reference picture."""
        sizes = self.parts.size.encode(
            pixels, meta or MetaSize(), num_videos=len(prompts), device=self.device, dtype=self.transformer.dtype
        )
        image = self._encode_image(picture, len(prompts))
        positive = prompts.positive | sizes
        negative = {} if prompts.negative is None else {"negative": prompts.negative | sizes | image.absent}
        return (
            {"positive": positive | image.absent, **negative},
            {"positive": positive | image.present, **negative},
        )

    def encode_branches(self, conditions: dict[str, Conditions], inputs: RunInputs, *, batched: bool) -> Branches:
        """Let the transformer project the conditions."""
        encode = self.transformer.encode_condition
        positive, negative = conditions["positive"], conditions.get("negative")
        encoded = {"cond": encode(**positive)}
        if negative is not None and batched:
            encoded["cond_uncond"] = encode(**{name: torch.cat([negative[name], positive[name]]) for name in positive})
        elif negative is not None:
            encoded["uncond"] = encode(**negative)
        return Branches(self.transformer, encoded, inputs)

    def _encode_image(self, picture: Picture | None, num_videos: int) -> ImageConditioning:
        if self.parts.image is not None:
            return self.parts.image.encode(
                picture, num_videos=num_videos, device=self.device, dtype=self.transformer.dtype
            )
        if picture is not None:
            raise RequestError("This model takes no reference image.", fix="leave clip_image out")
        return ImageConditioning({}, {})


def start_latents(source: SourceLatents, scheduler: Any, timesteps: Tensor, *, from_clip: bool) -> Tensor:
    """Latents before the first step: the clip with noise of that timestep, or noise as strong as the sampler wants."""
    if from_clip and source.clip is not None:
        return scheduler.add_noise(source.clip, source.noise, timesteps[:1])
    return source.noise * scheduler.init_noise_sigma
