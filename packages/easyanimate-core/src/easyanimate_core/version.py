"""Tells which version of EasyAnimate a weights folder holds, by its headers and configurations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.checkpoint import read_header, read_json
from easyanimate_core.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

_INPAINT_CHANNELS = 12


def refuse_other_version(folder: Path, version: str) -> None:
    """Raise `WeightsError` when `folder` can be seen to hold another version than this one ("v1", "v2", ...)."""
    found = name_version(folder)
    if found not in {None, version}:
        raise WeightsError(
            f"These are weights of another version: {folder}",
            received=f"EasyAnimate {found.upper() if found else ''}",
            expected=f"EasyAnimate {version.upper()}",
            fix=f"use --model {found}, or give {version.upper()} weights",
        )


def name_version(folder: Path) -> str | None:
    """The version of EasyAnimate that a folder holds, as `--model` names it; None where that cannot be seen.

    The weights tell more than the configurations, whose class names are partly those of the 2D models that the
    checkpoints were trained from.
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
    """V1, V2 or V3, which share a class: by the motion modules, the VAE's chunks and what came with each version."""
    names = {name for path in (folder / "transformer").glob("*.safetensors") for name in read_header(path)}
    vae = folder / "vae" / "config.json"
    vae_config = read_json(vae) if vae.is_file() else {}
    signs = {
        "v3": (
            config.get("in_channels") == _INPAINT_CHANNELS,
            config.get("basic_block_type") == "global_motionmodule",
            any(name.startswith("clip_projection.") for name in names),
            vae_config.get("slice_compression_vae"),
        ),
        "v1": (
            config.get("motion_module_type") == "VanillaGrid",
            vae_config.get("_class_name") in {"AutoencoderKL", "FrameAutoencoder"},
        ),
        "v2": (
            config.get("enable_uvit"),
            any(name.startswith("long_connect_fc.") for name in names),
            any(".attn_temporal." in name for name in names),
            vae_config.get("slice_mag_vae"),
        ),
    }
    # Without any sign it is a plain image transformer, which V1 is built on.
    return next((version for version, found in signs.items() if any(found)), "v1")
