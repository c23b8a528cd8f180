"""Loads models of diffusers and the sampler's configuration from a weights folder; what does not fit is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import JsonObject, read_object
from easyanimate_core.weights_folder import complete_config
from easyanimate_torch.checkpoint import check_kinds, check_shapes, read_weights
from easyanimate_torch.explaining import explaining
from easyanimate_torch.quiet import silence_libraries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn


def freeze(model: Any) -> Any:
    """The model, for inference."""
    return model.eval().requires_grad_(requires_grad=False)


def check_class(written: Mapping[str, Any], class_name: str, source: str) -> None:
    """Raise `WeightsError` unless a configuration is one of the class, or of one of diffusers that it may come from."""
    fields = JsonObject(written, source)
    name = fields.text("_class_name", class_name, most=200)
    if name != class_name and name not in dir(diffusers):
        raise fields.refuse("_class_name", name, class_name, "use weights of this model")


def load_scheduler(folder: Path, release: Mapping[str, Any] | None = None) -> Any:
    """The sampler's configuration, in a class that keeps it whole; every run makes the sampler that it asks for.

    Args:
        folder: Of `scheduler_config.json`.
        release: The settings where the folder has none, or those of another class, which describe the image model.
    """
    scheduler_class: Any = DDIMScheduler
    path = folder / "scheduler_config.json"
    written = read_object(path) if release is None or path.is_file() else JsonObject({}, str(path))
    _check_scheduler(written)
    settings = written.values
    if release is not None:
        settings = complete_config(settings, scheduler_class.__name__, release)
    with explaining("The configuration of the sampler", path, "that of a sampler of diffusers"), silence_libraries():
        return scheduler_class.from_config(dict(settings))


def _check_scheduler(settings: JsonObject) -> None:
    """Raise `WeightsError` for settings that no sampler has: it would make tables of any length."""
    ranges = {"num_train_timesteps": 100_000, "steps_offset": 1000}
    for name, most in ranges.items():
        if name in settings:
            settings.count(name, most=most)
    for name in ("beta_start", "beta_end"):
        if name in settings:
            settings.number(name, least=0, most=1)
    settings.items("trained_betas", (), most=100_000)
    if "prediction_type" in settings:
        settings.text("prediction_type", accepted=("epsilon", "sample", "v_prediction", "flow_prediction"))


def replace_weights(model: nn.Module, path: Path) -> None:
    """Load a file that holds all or some tensors of a model, such as a personalised transformer.

    Raises:
        WeightsError: It holds none of them, others, or such of another shape.
    """
    tensors = read_weights(path)
    own = model.state_dict()
    check_part(own, tensors, path)
    check_kinds(own, tensors, source=str(path))
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()}, strict=False)


def check_part(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `WeightsError` unless every tensor of a file fits the one of that name in a model."""
    shared = own.keys() & tensors.keys()
    if not shared:
        raise WeightsError(
            f"The file shares no tensor with the transformer: {path}",
            received=", ".join(sorted(tensors)[:3]),
            expected=", ".join(sorted(own)[:3]),
            fix="give a file of the same version; LoRA files go to --lora",
        )
    check_shapes(
        {name: tuple(own[name].shape) for name in shared},
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        source=str(path),
    )
