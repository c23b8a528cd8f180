"""V1's transformer as a part of its checkpoint: an image transformer, with the motion module merged into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyanimate_core import LoadOptions, WeightsFolder
from easyanimate_core.weights_file import read_json
from easyanimate_dit.loading.part import ModelPart

from easyanimate_v1.motion_module import find_motion_module

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_dit.loading.part import PartSettings


@dataclass(frozen=True, kw_only=True)
class MotionTransformerPart(ModelPart):
    """Where files hold the same tensor, the motion module's wins, then that of a file given for the transformer."""

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`."""
        from easyanimate_dit.pixart.motion_module_file import load_motion_transformer

        options = LoadOptions(weights=WeightsFolder(folder.parent), parts=settings.files)
        return load_motion_transformer(
            self.complete_config(read_json(folder / "config.json")),
            folder,
            find_motion_module(options),
            dtype=settings.dtype,
            replaced=settings.files.get(folder.name),
        )
