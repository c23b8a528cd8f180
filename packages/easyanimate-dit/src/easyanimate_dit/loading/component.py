"""Loads models of diffusers and the sampler's configuration from a weights folder; what does not fit is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import read_json
from easyanimate_core.weights_folder import complete_config
from easyanimate_torch.checkpoint import check_shapes, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn


def freeze(model: Any) -> Any:
    """The model, for inference."""
    return model.eval().requires_grad_(requires_grad=False)


def load_scheduler(folder: Path, release: Mapping[str, Any] | None = None) -> Any:
    """The sampler's configuration, in a class that keeps it whole; every run makes the sampler that it asks for.

    Args:
        folder: Of `scheduler_config.json`.
        release: The settings where the folder has none, or those of another class, which describe the image model.
    """
    scheduler_class: Any = DDIMScheduler
    if release is None:
        return scheduler_class.from_pretrained(folder)
    path = folder / "scheduler_config.json"
    written = read_json(path) if path.is_file() else {}
    return scheduler_class.from_config(complete_config(written, scheduler_class.__name__, release))


def replace_weights(model: nn.Module, path: Path) -> None:
    """Load a file that holds all or some tensors of a model, such as a personalised transformer.

    Raises:
        WeightsError: It holds none of them, others, or such of another shape.
    """
    tensors = read_weights(path)
    own = model.state_dict()
    check_part(own, tensors, path)
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
