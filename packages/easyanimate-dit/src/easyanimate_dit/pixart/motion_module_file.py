"""V1's transformer in two files: an image transformer and a motion module, which is merged into it at loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import check_kinds, check_shapes, list_shapes, outline, read_folder, read_weights

from easyanimate_dit.loading.component import freeze
from easyanimate_dit.loading.motion_file import MOTION_MARK
from easyanimate_dit.pixart import Transformer3DModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor


def load_motion_transformer(
    config: Mapping[str, Any],
    transformer: Path,
    motion_module: Path | None,
    *,
    dtype: torch.dtype,
    replaced: Path | None = None,
) -> Transformer3DModel:
    """Load V1's transformer; where files hold the same tensor, the motion module's wins, then that of `replaced`.

    Args:
        config: Of `Transformer3DModel`.
        transformer: Folder of the image transformer's weights.
        motion_module: File of the motion module; None when the transformer's files hold it.
        dtype: Of the weights in memory.
        replaced: File of transformer weights that replace those of the folder, such as a personalised model.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape, or a file is not what it is given as.
    """
    weights: dict[str, Tensor] = read_folder(transformer)
    source = str(transformer)
    if replaced is not None:
        weights |= read_weights(replaced)
        source = f"{replaced} over {source}"
    if motion_module is not None:
        weights |= read_motion_module(motion_module)
        source = f"{source} with {motion_module}"
    model = outline(
        lambda: Transformer3DModel.from_config(dict(config)), num_tensors=len(weights), source=str(transformer)
    )
    own = list_shapes(model.state_dict())
    # PixArt's files carry the table of positions, which is computed here.
    known_extras = (r"^pos_embed\.pos_embed$", r"^caption_projection\.y_embedding$")
    check_shapes(own, list_shapes(weights), source=source, known_extras=known_extras)
    check_kinds(model.state_dict(), weights, source=source)
    model.load_state_dict({name: weights.pop(name).to(dtype) for name in own}, assign=True)
    return freeze(model)


def read_motion_module(path: Path) -> dict[str, Tensor]:
    """Read the file of a motion module.

    Raises:
        WeightsError: It holds something else.
    """
    weights = read_weights(path)
    others = sorted(name for name in weights if MOTION_MARK not in name)
    if others or not weights:
        raise WeightsError(
            f"This is not the file of a motion module: {path}",
            received=f"{len(others)} other tensors, such as {others[0]}" if others else "no tensor",
            expected=f"tensors whose names contain {MOTION_MARK!r} alone",
            fix="a whole transformer is given with --transformer FILE or as a folder with --weights",
        )
    return weights


def split_motion_module(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the image transformer, and those of the motion module."""
    image = {name: tensor for name, tensor in weights.items() if MOTION_MARK not in name}
    return image, {name: tensor for name, tensor in weights.items() if MOTION_MARK in name}
