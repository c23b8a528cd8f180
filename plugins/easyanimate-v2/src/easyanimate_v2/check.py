"""Refuses folders that do not hold whole V2 weights, and says which version they hold instead. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists
from easyanimate_core.version import refuse_other_version

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {
    "transformer": Component(),
    "vae": Component(),
    "text_encoder": Component(),
    "tokenizer": Component(config=("tokenizer_config.json",), weights=False),
}


def check_weights(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` holds whole V2 weights; reads headers and configurations only."""
    check_exists(folder)
    refuse_other_version(folder, "v2")
    check_components(folder, COMPONENTS)
