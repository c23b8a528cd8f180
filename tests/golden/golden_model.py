"""Golden cases of single models: the transformer and the VAE."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_vae import AutoencoderKLMagvit
from golden_case import Comparison, GoldenCase, compare

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
        "decoded_clamped_smoothed": lambda: vae.decode_smoothly(case.inputs["z"]),
    }
    return [compare(name, ways[name](), value, _TOLERANCE) for name, value in case.outputs.items()]
