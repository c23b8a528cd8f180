"""What a run encodes once, before its first step.

Axes: B videos, C channels, T frames, H height, W width in pixels; t, h, w the same in latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from easyanimate_core.errors import RequestError

from easyanimate_dit.sampling.conditioning import ImageConditioning, MetaSize
from easyanimate_dit.sampling.guidance import Branches, ForwardInputs
from easyanimate_dit.sampling.inpaint import SourceLatents
from easyanimate_dit.sampling.noise import NoiseUse

if TYPE_CHECKING:
    from easyanimate_core.interfaces import Scheduler, VideoTransformer
    from easyanimate_core.shapes import PixelShape
    from torch import Tensor

    from easyanimate_dit.sampling.conditioning import Picture
    from easyanimate_dit.sampling.guidance import Guidance
    from easyanimate_dit.sampling.inpaint import GivenClip, KeptPart
    from easyanimate_dit.sampling.noise import NoiseSource
    from easyanimate_dit.sampling.text import Conditions
    from easyanimate_dit.sampling.version_parts import VersionParts


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """Everything that stays the same over the steps of a run.

    Args:
        timesteps: Of the steps, on the CPU, where the scheduler's own tables are.
        model_timesteps: The same where and as the transformer takes them.
        noise: All randomness.
        guidance: As it was asked for; a callback may change its scale from step to step.
        early: The transformer with its conditions, before the reference picture acts.
        late: The same from the step `first_late` on; `early` where there is no picture.
        first_late: May lie between two steps.
        kept: What is put back into the latents after every step; None for nothing.
    """

    timesteps: Tensor
    model_timesteps: Tensor
    noise: NoiseSource
    guidance: Guidance
    early: Branches
    late: Branches
    first_late: float
    kept: KeptPart | None

    def find_branches(self, step: int) -> Branches:
        """The transformer with the conditions of a step."""
        return self.early if step < self.first_late else self.late

    def find_next_timestep(self, step: int) -> Tensor | None:
        """The timestep after that of a step; None after the last one."""
        return self.timesteps[step + 1] if step + 1 < len(self.timesteps) else None


@dataclass(frozen=True)
class Prompts:
    """Text arguments of the transformer, [B, ...]; without guidance there is no negative one."""

    positive: Conditions
    negative: Conditions | None

    def __len__(self) -> int:
        """The number of videos."""
        return len(next(iter(self.positive.values())))


@dataclass(frozen=True)
class RunEncoder:
    """Encodes what stays the same over the steps of a run.

    Args:
        parts: How the model version does it.
        transformer: The denoiser; conditions and latents are made in its dtype.
        device: Where the run is.
        noise: All randomness.
        shape: [B, C, t, h, w] of the latents.
    """

    parts: VersionParts
    transformer: VideoTransformer
    device: torch.device
    noise: NoiseSource
    shape: tuple[int, int, int, int, int]

    def encode_source(self, given: GivenClip | None, latents: Tensor | None, *, needs_clip: bool) -> SourceLatents:
        """Draw the initial noise, unless `latents` are it, and encode the given clip where somebody needs it."""
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

    def encode_inputs(self, given: GivenClip | None) -> ForwardInputs:
        """Encode the arguments of every forward pass."""
        size = self.parts.size
        tables = {} if size is None else size.make_tables(*self.shape[-2:], device=self.device)
        if self.parts.inpaint is None:
            return ForwardInputs({}, tables)
        encoded = self.parts.inpaint.condition(given, self.shape, self.parts.codec, self.noise, device=self.device)
        return ForwardInputs({name: value.to(self.transformer.dtype) for name, value in encoded.items()}, tables)

    def encode_branches(  # noqa: PLR0913 (all that conditions are made of)
        self,
        prompts: Prompts,
        inputs: ForwardInputs,
        *,
        pixels: PixelShape,
        meta: MetaSize | None,
        picture: Picture | None,
        batched: bool,
    ) -> tuple[Branches, Branches]:
        """The transformer with its conditions, without and with the reference picture.

        Without a picture both are the same. The negative branch never sees it.
        """
        dtype = self.transformer.dtype
        sizes: Conditions = {}
        if self.parts.size is not None:
            sizes = self.parts.size.encode(
                pixels, meta or MetaSize(), num_videos=len(prompts), device=self.device, dtype=dtype
            )
        image = self._encode_image(picture, len(prompts))
        positive = prompts.positive | sizes
        negative = None if prompts.negative is None else prompts.negative | sizes | image.absent
        without = self._project(positive | image.absent, negative, inputs, batched=batched)
        if picture is None:
            return without, without
        return without, self._project(positive | image.present, negative, inputs, batched=batched)

    def _project(
        self, positive: Conditions, negative: Conditions | None, inputs: ForwardInputs, *, batched: bool
    ) -> Branches:
        """Let the transformer encode the conditions of each branch."""
        encode = self.transformer.encode_condition
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


def start_latents(source: SourceLatents, scheduler: Scheduler, timesteps: Tensor, *, from_clip: bool) -> Tensor:
    """Latents before the first step: the clip with noise of its timestep, or noise as strong as the scheduler wants."""
    if from_clip and source.clip is not None:
        return scheduler.add_noise(source.clip, source.noise, timesteps[:1])
    return source.noise * scheduler.init_noise_sigma
