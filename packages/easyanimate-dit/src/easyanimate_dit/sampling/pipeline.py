"""The one sampling pipeline: prompts, pictures and clips to videos, for every model version.

Axes: B videos, C channels, T frames, H height, W width in pixels; t, h, w the same in latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from easyanimate_core.errors import RequestError
from easyanimate_core.request import Progress
from easyanimate_core.shapes import LatentShape, PixelShape
from torch import Tensor

from easyanimate_dit.lora.pipeline import EasyAnimateLoraMixin
from easyanimate_dit.sampling.conditioning import MetaSize, Picture, to_pil
from easyanimate_dit.sampling.guidance import Guidance
from easyanimate_dit.sampling.inpaint import prepare_clip
from easyanimate_dit.sampling.latent import to_uint8
from easyanimate_dit.sampling.noise import SeededNoise
from easyanimate_dit.sampling.preparation import PreparedRun, Prompts, RunEncoder, start_latents
from easyanimate_dit.sampling.scheduler import set_timesteps, take_step

if TYPE_CHECKING:
    import numpy as np
    from easyanimate_core.interfaces import ImageEncoder, Scheduler, TextEncoder, VideoAutoencoder, VideoTransformer

    from easyanimate_dit.sampling.noise import NoiseSource
    from easyanimate_dit.sampling.text import Conditions
    from easyanimate_dit.sampling.version_parts import VersionParts

ReportProgress = Callable[[Progress], None]
StepCallback = Callable[["EasyAnimatePipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]

_OUTPUT_TYPES = ("uint8", "pil", "pt", "latent")


@dataclass
class EasyAnimatePipelineOutput(BaseOutput):
    """The videos of one call.

    Args:
        frames: By `output_type`: "uint8" [B, T, H, W, 3] array, "pil" lists of pictures, "pt" [B, 3, T, H, W] in
            [0, 1], "latent" [B, C, t, h, w] before decoding.
    """

    frames: Any


class EasyAnimatePipeline(EasyAnimateLoraMixin, DiffusionPipeline):
    """Generates videos and images; what a model version does differently is in `parts`.

    Args:
        vae: Codes pixels to latents.
        text_encoder: First text encoder.
        tokenizer: Its tokenizer.
        transformer: The denoiser: `encode_condition(**conditions)` once per run, then one call per step.
        scheduler: Of the steps; `RequestPipeline` makes another one for every sampler that is asked for.
        text_encoder_2: Second text encoder, where the version has one.
        tokenizer_2: Its tokenizer.
        image_encoder: Codes reference pictures, where the version takes them.
        image_processor: Prepares pictures for it.
        parts: How this model version conditions and codes; needed, though diffusers wants a default here.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->image_encoder->transformer->vae"
    _optional_components: ClassVar = ["text_encoder_2", "tokenizer_2", "image_encoder", "image_processor"]
    _callback_tensor_inputs: ClassVar = ["latents"]
    scheduler: Scheduler

    def __init__(  # noqa: PLR0913, PLR0917 (diffusers reads the components from the signature)
        self,
        vae: VideoAutoencoder,
        text_encoder: TextEncoder,
        tokenizer: Any,
        transformer: VideoTransformer,
        scheduler: Scheduler,
        text_encoder_2: TextEncoder | None = None,
        tokenizer_2: Any = None,
        image_encoder: ImageEncoder | None = None,
        image_processor: Any = None,
        *,
        parts: VersionParts | None = None,
    ) -> None:
        super().__init__()
        if parts is None:
            raise TypeError("EasyAnimatePipeline needs `parts`: build it through the plugin of a model version")
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
            scheduler=scheduler,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            image_encoder=image_encoder,
            image_processor=image_processor,
        )
        self.parts = parts
        self._guidance_scale = 1.0
        self._interrupt = False
        self._num_timesteps = 0
        self._current_timestep: Tensor | None = None

    @property
    def guidance_scale(self) -> float:
        """Of the call that runs; a callback may lower `_guidance_scale` to 1 to end guidance early."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        """Steps of the call that runs."""
        return self._num_timesteps

    @property
    def current_timestep(self) -> Tensor | None:
        """Of the call that runs."""
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        """Set `_interrupt` in a callback to skip the remaining steps."""
        return self._interrupt

    @torch.no_grad()
    def encode_prompt(self, prompt: str | Sequence[str], num_videos_per_prompt: int = 1) -> Conditions:
        """The transformer's text arguments for prompts; `prompt_embeds` of a call takes them.

        Returns:
            By argument name, [prompts * num_videos_per_prompt, ...]; videos of one prompt are neighbours.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        encoded = self.parts.text.encode(prompts, device=self._execution_device, dtype=self.transformer.dtype)
        return {name: states.repeat_interleave(num_videos_per_prompt, dim=0) for name, states in encoded.items()}

    @torch.no_grad()
    def __call__(  # noqa: PLR0913 (diffusers' argument names, as its EasyAnimate pipelines have them)
        self,
        prompt: str | Sequence[str] | None = None,
        num_frames: int = 72,
        height: int = 384,
        width: int = 672,
        *,
        video: Tensor | np.ndarray | None = None,
        mask_video: Tensor | np.ndarray | None = None,
        strength: float = 1.0,
        clip_image: Picture | None = None,
        clip_apply_ratio: float | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        guidance_rescale: float = 0.0,
        batched_guidance: bool = False,
        negative_prompt: str | Sequence[str] | None = None,
        num_videos_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        noise: NoiseSource | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Conditions | None = None,
        negative_prompt_embeds: Conditions | None = None,
        meta_size: MetaSize | None = None,
        output_type: str = "uint8",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        on_progress: ReportProgress | None = None,
    ) -> EasyAnimatePipelineOutput | tuple[Any]:
        """Make videos.

        Args:
            prompt: What to show; several prompts make several videos.
            num_frames: 1 makes an image.
            height: In pixels.
            width: In pixels.
            video: A clip to start from, [1 or B, 3, T, H, W] in [0, 1] or uint8 [T, H, W, 3]; nearest-neighbour resize.
            mask_video: What to generate of it, [1 or B, 1, T, H, W] in 0 to 255 or uint8 [T or 1, H, W]; 0 keeps.
            strength: How much of `video` is replaced: below 1 the first timesteps are skipped.
            clip_image: Picture that the video shall look like.
            clip_apply_ratio: Share of the steps, the last ones, in which `clip_image` acts; None takes the version's.
            num_inference_steps: Denoising steps.
            guidance_scale: 1 or less turns guidance off.
            guidance_rescale: How strongly to undo the over-exposure that high guidance brings, 0 to 1.
            batched_guidance: Run both guidance branches as one batch; the same result with more memory.
            negative_prompt: What to avoid; one for all videos or one per prompt.
            num_videos_per_prompt: Videos per prompt.
            generator: Seed of all randomness; one per video makes each video as its seed alone would.
            noise: All randomness, in place of `generator`.
            latents: Initial noise [B, C, t, h, w] of deviation 1; with it a `video` is not started from.
            prompt_embeds: Result of `encode_prompt`, in place of `prompt`.
            negative_prompt_embeds: The same for the negative prompt.
            meta_size: Sizes that the model is told.
            output_type: "uint8", "pil", "pt" or "latent"; see `EasyAnimatePipelineOutput`.
            return_dict: Whether to return an object or a tuple.
            callback_on_step_end: Called with pipeline, index and timestep of the step, and the tensors asked for; may
                return new ones.
            callback_on_step_end_tensor_inputs: Of "latents".
            on_progress: Told of every piece of work: phases "text", "encode", "denoise" (steps), "decode" (frames).

        Raises:
            RequestError: arguments that do not fit this model or one another.
        """
        _check_call(output_type, callback_on_step_end_tensor_inputs, prompt=prompt, prompt_embeds=prompt_embeds)
        pixels = PixelShape(num_frames, height, width)
        noise = noise or SeededNoise(generator)
        report = on_progress or (lambda _: None)
        self._guidance_scale, self._interrupt = guidance_scale, False

        # 1. Encode the prompts
        report(Progress("text", 0, 1))
        positive = prompt_embeds or self.encode_prompt(prompt or "", num_videos_per_prompt)
        num_videos = len(next(iter(positive.values())))
        negative = None
        if guidance_scale > 1:
            negative = negative_prompt_embeds or self._encode_negative(negative_prompt, num_videos)
        report(Progress("text", 1, 1))

        # 2. Start from noise, or from the given clip with noise
        report(Progress("encode", 0, 1))
        if video is not None and self.parts.inpaint is None:
            raise RequestError("This model cannot start from a video.", fix="leave the video out")
        shape = self.parts.codec.latent_shape(num_videos, pixels)
        encoder = RunEncoder(self.parts, self.transformer, self._execution_device, noise, shape)
        given = None if video is None else prepare_clip(video, mask_video, pixels)
        timesteps = set_timesteps(self.scheduler, num_inference_steps, strength)
        from_clip = given is not None and strength < 1 and latents is None
        source = encoder.encode_source(given, latents, needs_clip=from_clip)
        latents = start_latents(source, self.scheduler, timesteps, from_clip=from_clip)

        # 3. Encode everything that stays the same over the steps
        early, late = encoder.encode_branches(
            Prompts(positive, negative),
            encoder.encode_inputs(given),
            pixels=pixels,
            meta=meta_size,
            picture=clip_image,
            batched=batched_guidance,
        )
        share = self.parts.image_share if clip_apply_ratio is None else clip_apply_ratio
        run = PreparedRun(
            timesteps=timesteps,
            model_timesteps=timesteps.to(latents.device, latents.dtype),
            noise=noise,
            guidance=Guidance(guidance_scale, guidance_rescale, batched_guidance),
            early=early,
            late=late,
            first_late=len(timesteps) * (1 - share),
            kept=None if self.parts.inpaint is None else self.parts.inpaint.keep(given, source),
        )
        report(Progress("encode", 1, 1))

        # 4. Denoise
        latents = self._denoise(latents, run, callback_on_step_end, report)

        # 5. Decode
        frames = latents if output_type == "latent" else self._decode(latents, noise, output_type, report)
        self.maybe_free_model_hooks()
        return EasyAnimatePipelineOutput(frames=frames) if return_dict else (frames,)

    def _encode_negative(self, negative_prompt: str | Sequence[str] | None, num_videos: int) -> Conditions:
        """Encode each negative prompt once, for all videos of its prompt."""
        prompts = [negative_prompt or ""] if isinstance(negative_prompt, str | None) else list(negative_prompt)
        if num_videos % len(prompts):
            raise RequestError(
                "The number of negative prompts does not fit.",
                received=f"{len(prompts)} negative prompts for {num_videos} videos",
                expected="one, or one per prompt",
            )
        return self.encode_prompt(prompts, num_videos // len(prompts))

    def _denoise(
        self, latents: Tensor, run: PreparedRun, callback: StepCallback | None, report: ReportProgress
    ) -> Tensor:
        """Take all steps of a run.

        What changes from step to step is `latents`, the step, what the scheduler remembers, the generators of
        `run.noise`, and the scale of the guidance; nothing else. The host never waits for the device, because
        schedulers compute with scalars on the CPU.
        """
        num_steps = self._num_timesteps = len(run.timesteps)
        bar: Any = self.progress_bar
        with bar(total=num_steps) as steps_taken:
            for step, timestep in enumerate(run.timesteps):
                if self._interrupt:
                    break
                self._current_timestep = timestep

                # 1. Predict for both prompts, and guide
                scaled = self.scheduler.scale_model_input(latents, timestep)
                guidance = replace(run.guidance, scale=self._guidance_scale)
                branches = run.find_branches(step)
                negative, positive = branches.predict(scaled, run.model_timesteps[step], guidance)
                prediction = guidance.mix(negative, positive)

                # 2. Step, and put back what is kept of the given clip
                latents = take_step(self.scheduler, prediction, timestep, latents, run.noise)
                if run.kept is not None:
                    latents = run.kept.put_back(latents, self.scheduler, run.find_next_timestep(step))

                # 3. Report; the callback may change the latents
                if callback is not None:
                    changed = callback(self, step, timestep, {"latents": latents})
                    latents = (changed or {}).get("latents", latents)
                report(Progress("denoise", step + 1, num_steps))
                steps_taken.update()
        self._current_timestep = None
        return latents

    def _decode(self, latents: Tensor, noise: NoiseSource, output_type: str, report: ReportProgress) -> Any:
        """Decode piece by piece, so that a whole clip in floats never stands anywhere unless it was asked for."""
        convert = (lambda piece: piece.float()) if output_type == "pt" else to_uint8
        time_axis = 2 if output_type == "pt" else 1
        codec = self.parts.codec
        num_frames = codec.shapes.pixel_shape(LatentShape(*latents.shape[2:])).num_frames
        pieces: list[Tensor] = []
        for piece in codec.decode(latents, noise):
            _check_finite(piece, self.transformer.dtype)
            pieces.append(convert(piece))
            report(Progress("decode", sum(done.shape[time_axis] for done in pieces), num_frames))
        frames = torch.cat(pieces, dim=time_axis)
        if output_type == "pt":
            return frames
        array = frames.numpy()
        return [[to_pil(frame) for frame in clip] for clip in array] if output_type == "pil" else array


def _check_finite(pixels: Tensor, dtype: torch.dtype) -> None:
    """Raise `RequestError` where numbers overflowed, which would show as black frames."""
    if not pixels.isfinite().all():
        raise RequestError(
            "The clip came out as nothing but NaN: numbers overflowed, or a weights or LoRA file holds NaN.",
            received=f"frames that are not finite, computed in {str(dtype).removeprefix('torch.')}",
            expected="finite numbers",
            fix="use --dtype bfloat16 or float32, and leave out LoRA files one by one",
        )


def _check_call(output_type: str, tensor_inputs: Sequence[str], *, prompt: Any, prompt_embeds: Any) -> None:
    """Refuse arguments that contradict one another."""
    if output_type not in _OUTPUT_TYPES:
        raise RequestError("There is no such output type.", received=output_type, expected=", ".join(_OUTPUT_TYPES))
    if set(tensor_inputs) - {"latents"}:
        raise RequestError("A callback gets the latents only.", received=list(tensor_inputs), expected="latents")
    if (prompt is None) == (prompt_embeds is None):
        raise RequestError(
            "A call needs a prompt or its embeddings.",
            received="both" if prompt is not None else "neither",
            expected="either prompt or prompt_embeds",
        )
