"""Refuses folders that do not hold whole V3 weights, and says which version they hold instead. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists
from easyanimate_core.weights_file import read_json
from easyanimate_core.errors import WeightsError
from easyanimate_core.version import refuse_other_version

from easyanimate_v3.config import EASYANIMATE_V3_XL_2_INP_TRANSFORMER

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {
    "transformer": Component(),
    "vae": Component(),
    "text_encoder": Component(),
    "tokenizer": Component(config=("tokenizer_config.json",), weights=False),
}

IMAGE_COMPONENTS = {"image_encoder": Component()}
"""What a transformer that takes reference images needs beside `COMPONENTS`."""

_INPAINT_CHANNELS = 12


def check_weights(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` holds whole V3 weights; reads headers and configurations only."""
    check_exists(folder)
    refuse_other_version(folder, "v3")
    check_components(folder, COMPONENTS)
    if read_json(folder / "vae" / "config.json").get("slice_mag_vae"):
        raise WeightsError(
            f"The VAE in this folder is that of V2: {folder / 'vae'}",
            received="slice_mag_vae: true",
            expected="the slice VAE of V3, with slice_compression_vae: true",
            fix="put the folder vae of a V3 release in its place",
        )
    if takes_images(folder):
        check_components(folder, IMAGE_COMPONENTS)


def takes_images(folder: Path) -> bool:
    """Whether the transformer is an inpainting one, which takes reference images."""
    written = read_json(folder / "transformer" / "config.json")
    return written.get("in_channels", EASYANIMATE_V3_XL_2_INP_TRANSFORMER["in_channels"]) == _INPAINT_CHANNELS
