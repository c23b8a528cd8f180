"""Loads the parts of a weights folder in the original's layout, for every model version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from easyanimate_core.weights_file import read_json
from easyanimate_core.weights_folder import complete_config
from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import check_shapes, read_weights
from easyanimate_torch.quiet import silence_libraries
from transformers import CLIPVisionModelWithProjection, T5EncoderModel

from easyanimate_dit.loading.encoder import load_encoder, load_image_processor
from easyanimate_dit.lora.apply import merge_loras
from easyanimate_dit.pixart import Transformer3DModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from easyanimate_core.spec import LoadOptions
    from torch import Tensor, nn

IMAGE_ENCODER_EXTRAS = (r"^text_model\.", r"^text_projection\.", r"^logit_scale$", r"\.position_ids$")
"""The file of the image encoder is a whole CLIP model."""

TEXT_ENCODER_EXTRAS = (r"\.position_ids$", r"^pooler\.", r"^cls\.", r"^decoder\.", r"^lm_head\.")
"""Heads and buffers that the text encoders' files may carry beside the encoders."""


def load_model(
    model_class: Any,
    folder: Path,
    dtype: torch.dtype,
    release: Mapping[str, Any],
    *,
    known_extras: tuple[str, ...] = (),
) -> Any:
    """Load a model of diffusers strictly; what its configuration leaves open is that of the release.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape.
    """
    config = complete_config(read_json(folder / "config.json"), model_class.__name__, release)
    values = {name: config[name] for name in release}
    with silence_libraries():
        model, info = model_class.from_pretrained(folder, torch_dtype=dtype, output_loading_info=True, **values)
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: shape for name, shape in own.items() if name not in info["missing_keys"]}
    found |= dict.fromkeys(info["unexpected_keys"], ())
    check_shapes(own, found, source=str(folder), known_extras=known_extras)
    return freeze(model)


def load_pixart(folder: Path, dtype: torch.dtype, release: Mapping[str, Any]) -> Any:
    """Load the transformer of V2 or V3 strictly.

    Its `config.json` may be that of the image transformer it was trained from: what that leaves open is the release's.
    """
    config = complete_pixart_config(folder, release)
    with silence_libraries():
        model = Transformer3DModel.from_pretrained(folder, torch_dtype=dtype, **config)  # strict by itself
    return freeze(model)


def complete_pixart_config(folder: Path, release: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a transformer of V1 to V3: the fields of its release, with what its file says instead."""
    written = read_json(folder / "config.json")
    # What the original takes from elsewhere may stand there as null.
    return {name: value if written.get(name) is None else written[name] for name, value in release.items()}


def freeze(model: Any) -> Any:
    """The model, for inference."""
    return model.eval().requires_grad_(requires_grad=False)


def load_t5(folder: Path, dtype: torch.dtype) -> Any:
    """Load the encoder of a T5."""
    return load_encoder(T5EncoderModel, folder, dtype=dtype, known_extras=TEXT_ENCODER_EXTRAS)


def load_clip(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Load `image_encoder` and `image_processor` of a checkpoint."""
    processor = folder / "image_processor"
    encoder = load_encoder(
        CLIPVisionModelWithProjection, folder / "image_encoder", dtype=dtype, known_extras=IMAGE_ENCODER_EXTRAS
    )
    return {
        "image_encoder": encoder,
        "image_processor": load_image_processor(processor if processor.is_dir() else folder / "image_encoder"),
    }


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


def finish_loading(components: Mapping[str, Any], options: LoadOptions) -> None:
    """Put the further files of `options` into the components: transformer weights, then LoRA files."""
    if options.transformer is not None:
        replace_weights(components["transformer"], options.transformer)
    merge_loras(options.loras, components)


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
