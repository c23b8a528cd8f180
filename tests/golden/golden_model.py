"""Golden cases of single models: the transformer and the VAE."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from easyanimate_dit import HunyuanTransformer3DModel, Transformer3DModel
from easyanimate_dit.loading.component import replace_weights
from easyanimate_dit.pixart.motion_module_file import load_motion_transformer
from easyanimate_vae import AutoencoderKLMagvit
from golden_case import Comparison, GoldenCase, compare, strip
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_TOLERANCE = 1e-4


@torch.no_grad()
def run_transformer(case: GoldenCase) -> list[Comparison]:
    """One evaluation in float32; bfloat16 cases are held against twice the original's own error."""
    model = HunyuanTransformer3DModel.from_config(case.config).eval()
    model.load_state_dict(case.weights, strict=True)
    inputs = dict(case.inputs)
    inputs["image_rotary_emb"] = inputs.pop("image_rotary_emb_cos"), inputs.pop("image_rotary_emb_sin")
    if "sample_bf16" not in case.outputs:
        sample = model(**inputs).sample
        return [compare("sample", sample, case.outputs["sample"], _TOLERANCE)]
    reference = case.outputs["sample_fp32"]
    full = compare("sample in float32", model(**inputs).sample, reference, _TOLERANCE)
    half = {name: _to_bfloat16(value) for name, value in inputs.items()}
    sample = copy.deepcopy(model).to(torch.bfloat16)(**half).sample.float()
    own_error = (case.outputs["sample_bf16"] - reference).abs()
    return [
        full,
        compare("sample in bfloat16", sample, reference, 2 * own_error.max().item()),
        Comparison("mean error in bfloat16", (sample - reference).abs().mean().item(), 2 * own_error.mean().item()),
    ]


@torch.no_grad()
def run_pixart(case: GoldenCase) -> list[Comparison]:
    """One evaluation of V1's to V3's, and one with the condition encoded before; V1's in two files."""
    if "pixart_config" in case.config:
        return _run_motion_module(case)
    model = Transformer3DModel.from_config(case.config).eval()
    model.load_state_dict(case.weights, strict=True)
    inputs = dict(case.inputs)
    sizes = {name: inputs.pop(name, None) for name in ("resolution", "aspect_ratio")}
    step = {name: inputs.pop(name) for name in ("hidden_states", "timestep", "inpaint_latents") if name in inputs}
    ways = {
        "sample": model(**step, **inputs, added_cond_kwargs=sizes).sample,
        "sample, condition encoded before": model(**step, condition=model.encode_condition(**inputs, **sizes)).sample,
    }
    return [compare(name, sample, case.outputs["sample"], _TOLERANCE) for name, sample in ways.items()]


def _run_motion_module(case: GoldenCase) -> list[Comparison]:
    """The image transformer with and without the file of the motion module, loaded as the plugin does."""
    image, motion = strip(case.weights, "pixart/"), strip(case.weights, "motion_module/")
    config = case.config["pixart_config"] | case.config["transformer_additional_kwargs"]
    config.pop("_class_name")
    with TemporaryDirectory() as folder:
        save_file(image, Path(folder, "image.safetensors"))
        motion_module = Path(folder, "motion", "motion_module.safetensors")
        motion_module.parent.mkdir()
        save_file(motion, motion_module)
        alone = Transformer3DModel.from_config(config).eval()
        replace_weights(alone, Path(folder, "image.safetensors"))
        merged = load_motion_transformer(config, Path(folder), motion_module, dtype=torch.float32)
    return [
        compare(name, model(**case.inputs).sample, case.outputs[name], _TOLERANCE)
        for name, model in {"sample_pixart_only": alone, "sample_with_motion_module": merged}.items()
    ]


def _to_bfloat16(value: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
    """Everything floating but the rotary tables."""
    return value.to(torch.bfloat16) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


@torch.no_grad()
def run_vae(case: GoldenCase) -> list[Comparison]:
    """Encode, decode, and both after one another."""
    vae = AutoencoderKLMagvit.from_config(case.config).eval()
    vae.load_state_dict(case.weights, strict=True)
    posterior = vae.encode(case.inputs["pixel_values"]).latent_dist
    ways: dict[str, Callable[[], Tensor]] = {
        "moments": lambda: posterior.parameters,
        "mean": lambda: posterior.mean,
        "logvar": lambda: posterior.logvar,
        "decoded": lambda: vae.decode(case.inputs["z"]).sample,
        "reconstruction": lambda: vae.decode(posterior.mode()).sample,
        "decoded_clamped_smoothed": lambda: vae.decode_smoothly(case.inputs["z"], lambda second: second.mode()),
    }
    return [compare(name, ways[name](), value, _TOLERANCE) for name, value in case.outputs.items()]
