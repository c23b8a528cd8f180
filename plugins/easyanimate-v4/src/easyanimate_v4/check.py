"""Refuses folders that do not hold whole V4 weights, and says which version they hold instead. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists, read_json
from easyanimate_core.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

_TOKENIZER = Component(config=("tokenizer_config.json",), weights=False)

COMPONENTS = {
    "transformer": Component(class_names=("HunyuanTransformer3DModel",)),
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
    config = read_json(folder / "transformer" / "config.json")
    return config.get("in_channels", 12) * 2 != config.get("out_channels", 8)


def name_version(folder: Path) -> str | None:
    """The version of EasyAnimate that a folder holds, as `--model` names it; None where that cannot be seen."""
    path = folder / "transformer" / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    class_name = config.get("_class_name")
    if class_name == "HunyuanTransformer3DModel":
        return "v4"
    if class_name == "EasyAnimateTransformer3DModel":
        return "v5"
    if class_name != "Transformer3DModel":
        return None
    vae_path = folder / "vae" / "config.json"
    vae = read_json(vae_path) if vae_path.is_file() else {}
    if vae.get("_class_name") == "AutoencoderKL":
        return "v1"
    sliced = vae.get("slice_compression_vae") or config.get("in_channels") == 12  # noqa: PLR2004 (InP came with V3)
    return "v3" if sliced else "v2"
