"""Golden cases of the V4 pipelines, step by step, with all recorded noise replayed."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDIMScheduler
from easyanimate_dit.hunyuan import HunyuanTransformer3DModel
from easyanimate_dit.sampling.conditioning import MetaSize
from easyanimate_dit.sampling.noise import NoiseUse
from easyanimate_dit.sampling.scheduler import make_scheduler
from easyanimate_v4.plugin import V4
from easyanimate_vae import AutoencoderKLMagvit
from golden_case import Comparison, GoldenCase, compare, strip
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline, StepCallback
    from torch import Tensor

_INPUTS, _STEPS = 1e-4, 1e-3
_SAMPLERS = {"Euler": "euler", "Euler A": "euler_a", "DPM++": "dpm++", "PNDM": "pndm", "DDIM": "ddim"}
_CALL_NAMES = {"prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "guidance_rescale", "strength"}
_CALL_NAMES |= {"clip_apply_ratio"}
_META_NAMES = {"original_size": "original", "target_size": "target", "crops_coords_top_left": "crop"}
_TEXT_NAMES = {
    "prompt_embeds": "encoder_hidden_states",
    "prompt_attention_mask": "text_embedding_mask",
    "prompt_embeds_2": "encoder_hidden_states_t5",
    "prompt_attention_mask_2": "text_embedding_mask_t5",
}


class ReplayedNoise:
    """The draws that a golden file recorded, in their order."""

    generator = None

    def __init__(self, inputs: Mapping[str, Tensor], *, source_is_drawn: bool) -> None:
        posterior = [inputs[name] for name in _in_order(inputs, "posterior_noise.")]
        num_clips = len(inputs["video"]) if "video" in inputs else 1
        uses = [NoiseUse.SOURCE] if source_is_drawn else []
        self._draws: dict[NoiseUse, list[Tensor]] = {}
        for use in [*uses, NoiseUse.MASK, NoiseUse.MASKED_CLIP]:
            # The original codes the clips of a batch one after the other.
            own = [posterior.pop(0) for _ in range(num_clips) if posterior]
            self._draws[use] = [torch.cat(own)] if own else []
        self._draws[NoiseUse.STEP] = [inputs[name] for name in _in_order(inputs, "step_noise.")]
        self._draws[NoiseUse.INITIAL] = [inputs["initial_noise"]] if "initial_noise" in inputs else []

    def draw(self, shape: Sequence[int], use: NoiseUse, *, device: Any, dtype: torch.dtype) -> Tensor:
        """The next recorded draw for this use."""
        draw = self._draws[use].pop(0)
        assert draw.shape == tuple(shape), f"{use} noise of shape {tuple(shape)}, recorded {tuple(draw.shape)}"
        return draw.to(device, dtype)


class Recorder:
    """Keeps what the transformer is given and gives back."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        self.conditions: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.outputs: list[Tensor] = []
        self._hook = transformer.register_forward_hook(self._record, with_kwargs=True)

    def _record(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if args:
            self.steps.append({"latent_model_input": args[0], "timestep": args[1], **kwargs})
            self.outputs.append(output[0])
        else:
            self.conditions.append(kwargs)

    def close(self) -> None:
        """Stop recording."""
        self._hook.remove()


def _in_order(tensors: Mapping[str, Any], prefix: str) -> list[str]:
    names = [name for name in tensors if name.startswith(prefix)]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


@lru_cache(maxsize=2)
def _load_pipeline(weight_files: tuple[Path, ...]) -> EasyAnimatePipeline:
    """The pipeline with the weights and configurations of these files."""
    weights: dict[str, Tensor] = {}
    configs: dict[str, Any] = {}
    for path in weight_files:
        file = GoldenCase(path)
        weights |= file.read("weights/")
        configs |= json.loads(file.metadata["config"])
    builders = {
        "transformer": HunyuanTransformer3DModel.from_config,
        "vae": AutoencoderKLMagvit.from_config,
        "text_encoder": lambda config: BertModel(BertConfig(**config)),
        "text_encoder_2": lambda config: T5EncoderModel(T5Config(**config)),
        "image_encoder": lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig(**config)),
    }
    components: dict[str, Any] = {}
    for name, build in builders.items():
        components[name] = build(configs[name]).eval()
        components[name].load_state_dict(strip(weights, f"{name}/"), strict=True)
    tokenizers = weight_files[0].parent / "tokenizers"
    pipeline = V4.build_pipeline(
        components
        | {
            "tokenizer": BertTokenizer.from_pretrained(tokenizers / "tokenizer"),
            "tokenizer_2": T5Tokenizer.from_pretrained(tokenizers / "tokenizer_2"),
            "image_processor": CLIPImageProcessorPil(**configs["image_processor"]),
            "scheduler": DDIMScheduler(),
        }
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _make_call(case: GoldenCase, *, is_plain: bool) -> dict[str, Any]:
    """Arguments of the pipeline for a case, without noise."""
    arguments: dict[str, Any] = {}
    meta: dict[str, tuple[int, ...]] = {}
    for name, value in case.call.items():
        if name in _CALL_NAMES:
            arguments[name] = value
        elif name in _META_NAMES:
            meta[_META_NAMES[name]] = tuple(value)
        elif name == "video_length":
            arguments["num_frames"] = value
        elif name in {"height", "width"}:
            arguments[name] = value // 16 * 16  # the original floors where ours refuses
        else:
            message = f"the runner does not know the call argument {name}"
            raise NotImplementedError(message)
    given = {
        name: case.inputs[name] for name in ("video", "mask_video", "latents", "clip_image") if name in case.inputs
    }
    if "clip_image" in given:
        given["clip_image"] = given["clip_image"].to(torch.uint8)
    needs_source = is_plain or case.call.get("strength", 1.0) < 1
    noise = ReplayedNoise(case.inputs, source_is_drawn=needs_source)
    return arguments | given | {"noise": noise, "meta_size": MetaSize(**meta), "output_type": "pt"}


def run_pipeline(case: GoldenCase) -> list[Comparison]:
    """Everything that the file records, with guidance as one batch; latents and video also one after the other."""
    pipeline = _load_pipeline(case.weight_files)
    pipeline.scheduler = make_scheduler(_SAMPLERS[case.config["sampler_name"]], case.config["scheduler_config"])
    comparisons: list[Comparison] = []
    for batched in (True, False):
        steps: list[Tensor] = []

        def keep(
            _pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Tensor], kept: list[Tensor] = steps
        ) -> None:
            kept.append(tensors["latents"])

        recorder = Recorder(pipeline.transformer)
        call = _make_call(case, is_plain=not pipeline.transformer.has_clip)
        videos = pipeline(**call, batched_guidance=batched, callback_on_step_end=_keep_in(steps)).frames
        recorder.close()
        found = {f"latents_after_step.{step}": latents for step, latents in enumerate(steps)} | {"videos": videos}
        label = "" if batched else " (one after the other)"
        names = [*_in_order(case.outputs, "latents_after_step."), "videos"]
        comparisons += [compare(name + label, found[name], case.outputs[name], _STEPS) for name in names]
        if batched:
            comparisons += _compare_inputs(case, recorder, pipeline)
    return comparisons


def _keep_in(steps: list[Tensor]) -> StepCallback:
    """A callback that stores the latents of every step."""

    def keep(_pipeline: Any, _step: int, _timestep: Tensor, tensors: dict[str, Tensor]) -> None:
        steps.append(tensors["latents"])

    return keep


def _compare_inputs(case: GoldenCase, recorder: Recorder, pipeline: EasyAnimatePipeline) -> list[Comparison]:
    """Token ids, sampler tables, text states, and the transformer's inputs and outputs."""
    batch = len(recorder.steps[0]["timestep"])
    conditions = [call for call in recorder.conditions if len(call["style"]) == batch]
    first, last = dict(conditions[0]), conditions[-1]
    first |= recorder.steps[0]
    first["image_rotary_emb_cos"], first["image_rotary_emb_sin"] = first["image_rotary_emb"]
    found: dict[str, Tensor] = {f"first_step.{name}": value for name, value in first.items()}
    found |= {f"last_step.{name}": value for name, value in last.items()}
    found |= {f"transformer_output.{step}": value for step, value in enumerate(recorder.outputs)}
    for name, argument in _TEXT_NAMES.items():
        negative, positive = (
            last[argument].chunk(2) if case.call.get("guidance_scale", 5.0) > 1 else (None, last[argument])
        )
        found |= {name: positive, f"negative_{name}": negative}
    found |= _tokenize(case, pipeline)
    scheduler = pipeline.scheduler
    found |= {"timesteps": scheduler.timesteps[-len(recorder.outputs) :]}
    found |= {"scheduler.init_noise_sigma": torch.as_tensor(float(scheduler.init_noise_sigma))}
    found |= {"scheduler.sigmas": scheduler.sigmas} if hasattr(scheduler, "sigmas") else {}

    def is_step(name: str) -> bool:
        return name.startswith("transformer_output.")

    rest = [name for name in case.outputs if not name.startswith("latents_after_step.") and name != "videos"]
    return [compare(name, found[name], case.outputs[name], _STEPS if is_step(name) else _INPUTS) for name in rest]


def _tokenize(case: GoldenCase, pipeline: EasyAnimatePipeline) -> dict[str, Tensor]:
    """Ids that reach the text encoders."""
    found: dict[str, Tensor] = {}
    for label, prompt in (("", case.call["prompt"]), ("_negative", case.call.get("negative_prompt") or "")):
        for number, branch in zip(("", "_2"), pipeline.parts.text.branches, strict=True):
            prompts = [prompt] if isinstance(prompt, str) else prompt
            found[f"input_ids{number}{label}"] = branch.tokenize(prompts).input_ids
    return found
