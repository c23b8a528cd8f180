"""Golden cases of the pipelines of V1 to V3, step by step, with all recorded noise replayed."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.shapes import PixelShape
from easyanimate_dit import Transformer3DModel
from easyanimate_dit.loading.part import PIXART_SCHEDULER
from easyanimate_dit.pixart.version_parts import make_pixart_parts
from easyanimate_dit.sampling.inpaint import BlendInpainter, CodedMaskInpainter, prepare_clip
from easyanimate_dit.sampling.noise import NoiseUse
from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
from easyanimate_dit.sampling.scheduler import make_scheduler
from easyanimate_v1.config import SHAPES as V1_SHAPES
from easyanimate_v2.config import SHAPES as V2_SHAPES
from easyanimate_v3.config import SHAPES as V3_SHAPES
from easyanimate_vae import AutoencoderKLMagvit, FrameAutoencoder
from golden_case import Comparison, GoldenCase, compare, strip
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from easyanimate_core import ShapeRule
    from torch import Tensor

_INPUTS, _STEPS = 1e-4, 1e-3
_SAMPLERS = {
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_a",
    "DPMSolverMultistepScheduler": "dpm++",
    "PNDMScheduler": "pndm",
    "DDIMScheduler": "ddim",
}
_CALL_NAMES = {"prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "strength", "clip_apply_ratio"}
_CALL_NAMES |= {"height", "width"}
_IGNORED_NAMES = {"seed", "torch_global_seed", "tokenizer_dir"}


class ReplayedNoise:
    """The draws that a golden file recorded, in their order."""

    generator = None

    def __init__(self, inputs: Mapping[str, Tensor], *, inpaints: bool) -> None:
        posterior = [inputs[name] for name in _in_order(inputs, "noise_vae_")]
        self._draws: dict[NoiseUse, list[Tensor]] = {NoiseUse.STEP: []}
        if inpaints:
            self._draws[NoiseUse.SOURCE] = [posterior.pop(0)]
            # Plain transformers code neither mask nor masked clip; what is left is then of the smoothing.
            if len(posterior) >= 2:
                self._draws[NoiseUse.MASK] = [posterior.pop(0)]
                self._draws[NoiseUse.MASKED_CLIP] = [posterior.pop(0)]
        # Smoothing draws for the whole clip what the original drew chunk by chunk.
        self._draws[NoiseUse.SMOOTHING] = [torch.cat(posterior, dim=2)] if posterior else []
        self._draws[NoiseUse.STEP] = [inputs[name] for name in _in_order(inputs, "noise_scheduler_")]
        self._draws[NoiseUse.INITIAL] = [inputs[name] for name in _in_order(inputs, "noise_init_")]

    def draw(self, shape: Sequence[int], use: NoiseUse, *, device: Any, dtype: torch.dtype) -> Tensor:
        """The next recorded draw for this use."""
        draw = self._draws[use].pop(0)
        assert draw.shape == tuple(shape), f"{use} noise of shape {tuple(shape)}, recorded {tuple(draw.shape)}"
        return draw.to(device, dtype)


@dataclass(frozen=True)
class Version:
    """What a version is built with."""

    vae: Any
    shapes: ShapeRule
    smooth: bool


def _name_version(config: Mapping[str, Any]) -> Version:
    if config["motion_module_type"] == "VanillaGrid":
        return Version(FrameAutoencoder, V1_SHAPES, smooth=False)
    hybrid = config["basic_block_type"] == "global_motionmodule"
    return Version(AutoencoderKLMagvit, V3_SHAPES if hybrid else V2_SHAPES, smooth=True)


def _build(case: GoldenCase) -> EasyAnimatePipeline:
    config = case.config
    version = _name_version(config["transformer"])
    builders = {
        "transformer": Transformer3DModel.from_config,
        "vae": version.vae.from_config,
        "text_encoder": lambda own: T5EncoderModel(T5Config(**own | {"is_encoder_decoder": False})),
        "clip_image_encoder": lambda own: CLIPVisionModelWithProjection(CLIPVisionConfig(**own)),
    }
    components: dict[str, Any] = {}
    for name, build in builders.items():
        if name in config:
            own = {field: value for field, value in config[name].items() if field != "class"}
            if version.vae is AutoencoderKLMagvit:
                own.pop("block_out_channels", None)  # the original's pipeline reads it, the model does not
            components[name.removeprefix("clip_")] = build(own).eval()
            weights = strip(case.weights, f"{name}/")
            components[name.removeprefix("clip_")].load_state_dict(weights, strict=True)
    scheduler = config["scheduler"]
    components["scheduler"] = make_scheduler(_SAMPLERS[scheduler["class"]], PIXART_SCHEDULER | scheduler["kwargs"])
    components["tokenizer"] = T5Tokenizer.from_pretrained(case.path.parent / case.call["tokenizer_dir"])
    if "image_encoder" in components:
        components["image_processor"] = CLIPImageProcessorPil.from_pretrained(case.path.parent / "clip_image_processor")
    inpaint = None
    if "Inpaint" in case.class_name:
        inpaint = CodedMaskInpainter() if components["transformer"].has_clip else BlendInpainter()
    parts = make_pixart_parts(components, version.shapes, smooth=version.smooth, inpaint=inpaint)
    pipeline = EasyAnimatePipeline(**components, parts=parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Recorder:
    """Keeps what the transformer and the sampler are given and give back."""

    def __init__(self, pipeline: EasyAnimatePipeline) -> None:
        self.transformer: list[tuple[Tensor, Tensor, dict[str, Any], Tensor]] = []
        self.conditions: list[dict[str, Any]] = []
        self.steps: list[tuple[Tensor, Tensor]] = []
        self._hook = pipeline.transformer.register_forward_hook(self._keep, with_kwargs=True)
        step = pipeline.scheduler.step

        def keep_step(prediction: Tensor, *args: Any, **kwargs: Any) -> Any:
            result = step(prediction, *args, **kwargs)
            self.steps.append((prediction, result[0]))
            return result

        keep_step.__signature__ = inspect.signature(step)  # the pipeline looks at its arguments
        pipeline.scheduler.step = keep_step
        self.scaled: list[Tensor] = []
        scale = pipeline.scheduler.scale_model_input

        def keep_scale(sample: Tensor, *args: Any) -> Tensor:
            self.scaled.append(sample)
            return scale(sample, *args)

        pipeline.scheduler.scale_model_input = keep_scale

    def _keep(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if args:
            self.transformer.append((args[0], args[1], kwargs, output[0]))
        else:
            self.conditions.append(kwargs)


def _in_order(tensors: Mapping[str, Any], prefix: str) -> list[str]:
    names = [name for name in tensors if name.startswith(prefix)]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


def _make_call(case: GoldenCase) -> dict[str, Any]:
    """Arguments of the pipeline for a case, without noise."""
    call = case.call
    unknown = call.keys() - _CALL_NAMES - _IGNORED_NAMES - {"video_length"}
    if unknown:
        message = f"the runner does not know the call arguments {', '.join(unknown)}"
        raise NotImplementedError(message)
    arguments = {name: call[name] for name in _CALL_NAMES & call.keys()}
    num_frames, size = call["video_length"], (call["height"], call["width"])
    arguments["num_frames"] = num_frames
    inputs = case.inputs
    if "video" in inputs:
        video = inputs["video"]
        if video.shape[2] != num_frames:
            # Only the ends are stored; the frames between repeat the first.
            video = torch.cat([video[:, :, :1].expand(-1, -1, num_frames - 1, -1, -1), video[:, :, -1:]], dim=2)
        arguments["video"] = video
        arguments["mask_video"] = inputs["mask_video"].float().expand(-1, -1, -1, *size)
    if "latents" in inputs:
        arguments["latents"] = inputs["latents"]
    if "clip_image" in inputs:
        arguments["clip_image"] = inputs["clip_image"].to(torch.uint8)
    return arguments


@torch.no_grad()
def run_pixart_pipeline(case: GoldenCase) -> list[Comparison]:
    """Everything that the file records, with guidance as one batch; the predictions also one after the other."""
    comparisons: list[Comparison] = []
    for batched in (True, False):
        pipeline = _build(case)
        recorder = Recorder(pipeline)
        noise = ReplayedNoise(case.inputs, inpaints="Inpaint" in case.class_name)
        call = _make_call(case) | {"noise": noise, "batched_guidance": batched}
        final: list[Tensor] = []

        def keep(_pipe: Any, _step: int, _time: Any, tensors: dict[str, Tensor], kept: list[Tensor] = final) -> None:
            kept.append(tensors["latents"])

        video = pipeline(**call, output_type="pt", callback_on_step_end=keep).frames
        found: dict[str, Tensor] = {
            "guided_eps_steps": torch.stack([prediction for prediction, _ in recorder.steps]),
            "latents_steps": torch.stack([latents for _, latents in recorder.steps]),
            "final_latents": final[-1],
            "video": video,
        }
        if batched:
            found |= _describe(case, pipeline, recorder)
        label = "" if batched else " (one after the other)"
        for name, value in found.items():
            if name in case.outputs:
                expected = case.outputs[name]
                # Random networks let some samplers grow to hundreds: the tolerance is relative to the largest value.
                largest = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
                tolerance = (_INPUTS if name in _EXACT else _STEPS) * largest
                comparisons.append(compare(name + label, value, expected, tolerance))
    missing = case.outputs.keys() - {item.name for item in comparisons}
    return comparisons + [Comparison(f"{name} (not compared)", float("inf"), 0.0) for name in sorted(missing)]


_EXACT = {
    *("input_ids", "negative_input_ids", "prompt_embeds_cfg", "prompt_attention_mask_cfg"),
    *("timesteps", "sigmas", "init_noise_sigma", "prepared_latents", "inpaint_latents", "video_latents"),
    *("clip_encoder_hidden_states", "clip_attention_mask", "clip_encoder_hidden_states_per_step"),
    *("clip_attention_mask_per_step", "transformer_timesteps", "transformer_input_step_0"),
}


def _describe(case: GoldenCase, pipeline: EasyAnimatePipeline, recorder: Recorder) -> dict[str, Tensor]:
    """Token ids, text states, the sampler's tables, and the transformer's inputs and first output."""
    scheduler = pipeline.scheduler
    condition = recorder.conditions[-1]
    first = recorder.transformer[0]
    (branch,) = pipeline.parts.text.branches
    prompt = case.call["prompt"]
    found = {
        "input_ids": branch.tokenize([prompt] if isinstance(prompt, str) else prompt).input_ids,
        "negative_input_ids": branch.tokenize([case.call["negative_prompt"]]).input_ids,
        "prompt_embeds_cfg": condition["encoder_hidden_states"],
        "prompt_attention_mask_cfg": condition["encoder_attention_mask"],
        "timesteps": scheduler.timesteps,
        "init_noise_sigma": torch.as_tensor([float(scheduler.init_noise_sigma)]),
        "prepared_latents": recorder.scaled[0],
        "transformer_input_step_0": first[0],
        "transformer_output_step_0": first[3],
        "transformer_timesteps": torch.stack([call[1] for call in recorder.transformer]),
    }
    if hasattr(scheduler, "sigmas"):
        found["sigmas"] = scheduler.sigmas
    for name in ("clip_encoder_hidden_states", "clip_attention_mask"):
        if name in condition:
            found[name] = condition[name]
            found[f"{name}_per_step"] = torch.stack([step[name] for step in _list_conditions(recorder)])
    if "inpaint_latents" in first[2]:
        found["inpaint_latents"] = first[2]["inpaint_latents"]
    if "video" in case.inputs:
        call = _make_call(case)
        pixels = PixelShape(call["num_frames"], call["height"], call["width"])
        given = prepare_clip(call["video"], call["mask_video"], pixels)
        noise = ReplayedNoise(case.inputs, inpaints=True)
        device = torch.device("cpu")
        found["video_latents"] = pipeline.parts.codec.encode(given.pixels, noise, NoiseUse.SOURCE, device=device)
    return found


def _list_conditions(recorder: Recorder) -> list[dict[str, Any]]:
    """The conditions of every step: the early ones were encoded first, the late ones last."""
    used = [call[2]["condition"] for call in recorder.transformer]
    batch = len(recorder.transformer[0][0])
    encoded = [kwargs for kwargs in recorder.conditions if len(kwargs["encoder_hidden_states"]) == batch]
    return [encoded[-1 if condition is used[-1] else 0] for condition in used]
