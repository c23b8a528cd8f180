"""Golden cases of LoRA: what merging a file changes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import torch
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.lora import merge_lora
from easyanimate_dit.lora_file import parse_lora
from golden_case import Comparison, GoldenCase, compare, strip
from transformers import BertConfig, BertModel

_TOLERANCE = 1e-4


@torch.no_grad()
def run_lora(case: GoldenCase) -> list[Comparison]:
    """Merge the file into transformer and text encoder."""
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
    lora = parse_lora(strip(case.inputs, "lora/"), source=str(case.path))
    for component in lora.layers:
        merge_lora(lora, component, models[component], weight=case.call["multiplier"])
    found["sample_after_merge"] = sample()
    for component, model in models.items():
        found |= {f"merged/{component}/{name}": value for name, value in model.state_dict().items()}
    comparisons = [compare(name, found[name], value, _TOLERANCE) for name, value in case.outputs.items()]
    kept = [name for name in case.weights if f"merged/{name}" not in case.outputs]
    return comparisons + [compare(f"kept/{name}", found[f"merged/{name}"], case.weights[name], 0.0) for name in kept]
