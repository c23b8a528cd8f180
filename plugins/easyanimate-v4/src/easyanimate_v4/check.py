"""Refuses folders that do not hold whole V4 weights, and says which version they hold instead. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists, read_header, read_json
from easyanimate_core.errors import WeightsError

from easyanimate_v4.config import EASYANIMATE_V4_XL_2_INP_TRANSFORMER, complete_config

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_TOKENIZER = Component(config=("tokenizer_config.json",), weights=False)

COMPONENTS = {
    "transformer": Component(),
    "vae": Component(),
    "text_encoder": Component(),
    "text_encoder_2": Component(),
    "tokenizer": _TOKENIZER,
    "tokenizer_2": _TOKENIZER,
    "scheduler": Component(config=("scheduler_config.json",), weights=False),
}

IMAGE_COMPONENTS = {"image_encoder": Component()}
"""What a transformer that takes reference images needs beside `COMPONENTS`."""


def check_weights(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` holds whole V4 weights; reads headers and configurations only."""
    check_exists(folder)
    version = name_version(folder)
    if version not in {None, "v4"}:
        raise WeightsError(
            f"These are weights of another version: {folder}",
            received=f"EasyAnimate {version.upper() if version else ''}",
            expected="EasyAnimate V4",
            fix=f"use --model {version}, or give V4 weights",
        )
    check_components(folder, COMPONENTS)
    if takes_images(folder):
        check_components(folder, IMAGE_COMPONENTS)


def takes_images(folder: Path) -> bool:
    """Whether the transformer is an inpainting one, which takes reference images."""
    written = read_json(folder / "transformer" / "config.json")
    config = complete_config(written, "HunyuanTransformer3DModel", EASYANIMATE_V4_XL_2_INP_TRANSFORMER)
    return config["in_channels"] * 2 != config["out_channels"]


def name_version(folder: Path) -> str | None:
    """The version of EasyAnimate that a folder holds, as `--model` names it; None where that cannot be seen.

    The weights tell more than the configurations, whose class names are partly those of the 2D models that the
    checkpoints were trained from.
    """
    transformer = folder / "transformer"
    path = transformer / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    class_name = str(config.get("_class_name", ""))
    if class_name.startswith("Hunyuan"):
        return "v4"
    if class_name.startswith("EasyAnimate"):
        return "v5"
    return _name_early_version(transformer, config) if class_name.startswith(("Transformer", "PixArt")) else None


def _name_early_version(transformer: Path, config: dict[str, Any]) -> str:
    """V1, V2 or V3: long skips came with V2, reference images with V3."""
    names = {name for path in transformer.glob("*.safetensors") for name in read_header(path)}
    if config.get("in_channels") == 12 or any(name.startswith("clip_projection.") for name in names):  # noqa: PLR2004
        return "v3"
    has_skips = config.get("enable_uvit") or any(name.startswith("long_connect_fc.") for name in names)
    return "v2" if has_skips else "v1"
