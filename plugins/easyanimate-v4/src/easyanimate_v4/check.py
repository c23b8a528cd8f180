"""Refuses folders that do not hold whole V4 weights, and says which version they hold instead. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists
from easyanimate_core.weights_file import read_json
from easyanimate_core.weights_folder import complete_config
from easyanimate_core.version import refuse_other_version

from easyanimate_v4.config import EASYANIMATE_V4_XL_2_INP_TRANSFORMER

if TYPE_CHECKING:
    from pathlib import Path

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
    refuse_other_version(folder, "v4")
    check_components(folder, COMPONENTS)
    if takes_images(folder):
        check_components(folder, IMAGE_COMPONENTS)


def takes_images(folder: Path) -> bool:
    """Whether the transformer is an inpainting one, which takes reference images."""
    written = read_json(folder / "transformer" / "config.json")
    config = complete_config(written, "HunyuanTransformer3DModel", EASYANIMATE_V4_XL_2_INP_TRANSFORMER)
    return config["in_channels"] * 2 != config["out_channels"]
