"""Golden cases of LoRA: what merging a file changes, and what it leaves alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_dit import HunyuanTransformer3DModel, Transformer3DModel
from easyanimate_dit.lora.apply import merge_lora
from easyanimate_dit.lora.file import parse_lora
from golden_case import Comparison, GoldenCase, compare, strip
from transformers import BertConfig, BertModel, T5Config, T5EncoderModel

if TYPE_CHECKING:
    from golden_case import Tensors

_TOLERANCE = 1e-4


@torch.no_grad()
def run_lora(case: GoldenCase) -> list[Comparison]:
    """V4: merge the file into transformer and text encoder, and predict before and after."""
    models: dict[str, Any] = {
        "transformer": HunyuanTransformer3DModel.from_config(case.config["transformer"]).eval(),
        "text_encoder": BertModel(BertConfig(**case.config["text_encoder"])).eval(),
    }
    for name, model in models.items():
        model.load_state_dict(strip(case.weights, f"{name}/"), strict=True)
    inputs = {name: value for name, value in case.inputs.items() if not name.startswith("lora/")}
    inputs["image_rotary_emb"] = inputs.pop("image_rotary_emb_cos"), inputs.pop("image_rotary_emb_sin")

    def sample() -> torch.Tensor:
        return models["transformer"](**inputs).sample

    found = {"sample_before_merge": sample()}
    _merge(case, models)
    found["sample_after_merge"] = sample()
    found |= {f"merged/{name}": value for name, value in _list_weights(models).items()}
    return _compare(case, found, "merged/")


@torch.no_grad()
def run_older_lora(case: GoldenCase) -> list[Comparison]:
    """V1 to V3: merge the file into transformer and text encoder."""
    source = json.loads(case.metadata["weights_from"])[0]["file"]
    pipeline = GoldenCase(case.path.parent / source)
    models: dict[str, Any] = {
        "transformer": Transformer3DModel.from_config(case.config).eval(),
        "text_encoder": T5EncoderModel(T5Config(**pipeline.config["text_encoder"])).eval(),
    }
    for name, model in models.items():
        model.load_state_dict(strip(case.weights, f"{name}/"), strict=True)
    _merge(case, models)
    return _compare(case, _list_weights(models), "")


def _merge(case: GoldenCase, models: dict[str, Any]) -> None:
    lora = parse_lora(strip(case.inputs, "lora/"), source=str(case.path))
    for component in ("transformer",) if case.call.get("transformer_only") else lora.layers:
        merge_lora(lora, component, models[component], weight=case.call["multiplier"])


def _list_weights(models: dict[str, Any]) -> Tensors:
    """All weights by component and name."""
    return {
        f"{component}/{name}": value
        for component, model in models.items()
        for name, value in model.state_dict().items()
    }


def _compare(case: GoldenCase, found: Tensors, prefix: str) -> list[Comparison]:
    """Outputs against the golden ones; weights without an output are those of before, bit for bit."""
    comparisons = [compare(name, found[name], value, _TOLERANCE) for name, value in case.outputs.items()]
    kept = [name for name in case.weights if f"{prefix}{name}" in found and f"{prefix}{name}" not in case.outputs]
    return comparisons + [compare(f"kept/{name}", found[prefix + name], case.weights[name], 0.0) for name in kept]
