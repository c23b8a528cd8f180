"""Tells which version of EasyAnimate a weights folder holds, by its headers and configurations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.checkpoint import TensorInfo, read_header, read_json
from easyanimate_core.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

_INPAINT_CHANNELS = 12
_IMAGE_AXES = 4
"""Of the weights of a convolution over images; one over clips has five."""


def refuse_other_version(folder: Path, version: str) -> None:
    """Raise `WeightsError` when `folder` can be seen to hold another version than this one ("v1", "v2", ...)."""
    found = name_version(folder)
    if found not in {None, version}:
        raise WeightsError(
            f"These are weights of another version: {folder}",
            received=f"EasyAnimate {found.upper() if found else ''}",
            expected=f"EasyAnimate {version.upper()}",
            fix=f"ea run --model {found} --weights {folder}, or give weights of {version.upper()}",
        )


def name_version(folder: Path) -> str | None:
    """The version of EasyAnimate that a folder holds, as `--model` names it; None where that cannot be seen.

    The weights tell more than the configurations, whose class names and settings are partly those of the image models
    that the checkpoints were trained from.
    """
    path = folder / "transformer" / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    class_name = str(config.get("_class_name", ""))
    if class_name.startswith("Hunyuan"):
        return "v4"
    if class_name.startswith("EasyAnimate"):
        return "v5"
    return _name_early_version(folder, config) if class_name.startswith(("Transformer", "PixArt")) else None


def _name_early_version(folder: Path, config: dict[str, Any]) -> str:
    """V1, V2 or V3, which share a class: the first sign there is, those that only one version can have first."""
    tensors = _read_tensors(folder / "transformer")
    first_layer = _read_tensors(folder / "vae").get("encoder.conv_in.weight")
    vae_path = folder / "vae" / "config.json"
    vae = read_json(vae_path) if vae_path.is_file() else {}
    signs = (
        ("v3", config.get("in_channels") == _INPAINT_CHANNELS),
        ("v3", config.get("basic_block_type") == "global_motionmodule"),
        ("v3", any(name.startswith("clip_projection.") for name in tensors)),
        ("v3", vae.get("slice_compression_vae")),
        # A V3 without pictures has long skips as well.
        ("v2", vae.get("slice_mag_vae")),
        ("v2", config.get("enable_uvit") or any(name.startswith("long_connect_fc.") for name in tensors)),
        ("v1", config.get("motion_module_type") == "VanillaGrid"),
        ("v1", first_layer is not None and len(first_layer.shape) == _IMAGE_AXES),
        ("v2", any("temporal" in name for name in tensors)),
    )
    # Without any sign it is a plain image transformer, which V1 is built on.
    return next((version for version, found in signs if found), "v1")


def _read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """The tensors of a component, from the headers of its safetensors files."""
    return {name: info for path in folder.glob("*.safetensors") for name, info in read_header(path).items()}
