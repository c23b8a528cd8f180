"""Refuses folders that do not hold whole V1 weights, and finds the motion module that belongs to them. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists, check_file, read_header
from easyanimate_core.errors import WeightsError
from easyanimate_core.version import refuse_other_version

from easyanimate_v1.config import MOTION_MODULE

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {
    "transformer": Component(),
    "vae": Component(),
    "text_encoder": Component(),
    "tokenizer": Component(config=("tokenizer_config.json",), weights=False),
}


def check_weights(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` holds a whole V1 model; reads headers and configurations only.

    The motion module may lie elsewhere, so it is looked for at loading.
    """
    check_exists(folder)
    if folder.is_file():
        _refuse_file(folder)
    refuse_other_version(folder, "v1")
    check_components(folder, COMPONENTS)


def _refuse_file(path: Path) -> None:
    """A motion module alone is no model."""
    if path.suffix == ".safetensors" and all("temporal" in name for name in read_header(path)):
        raise WeightsError(
            f"This is a motion module without its transformer: {path}",
            received=path.name,
            expected="the folder of the image transformer, and the motion module beside it",
            fix=f"--weights models/Diffusion_Transformer/PixArt-XL-2-512x512 --motion-module {path}",
        )


def find_motion_module(folder: Path, given: Path | None) -> Path | None:
    """The file of the motion module: the given one, the folder's own, or the one in the original's layout.

    Returns:
        None when the transformer's own files hold the motion module.

    Raises:
        WeightsError: There is none, or the file is damaged.
    """
    if given is not None:
        check_file(given)
        return given
    transformer = folder / "transformer"
    if any("temporal" in name for path in transformer.glob("*.safetensors") for name in read_header(path)):
        return None
    own = sorted((folder / "motion_module").glob("*.safetensors"))
    beside = sorted((folder.parent.parent / "Motion_Module").glob("*.safetensors"))
    found = own or beside
    if len(found) == 1:
        check_file(found[0])
        return found[0]
    raise WeightsError(
        f"The transformer has no motion module: {folder}",
        received=f"{len(found)} files in {folder.parent.parent / 'Motion_Module'}",
        expected=f"one, such as models/{MOTION_MODULE}",
        fix="--motion-module FILE"
        if found
        else "download easyanimate_v1_mm.safetensors from the project page of EasyAnimate into models/Motion_Module, "
        "or give --motion-module FILE",
    )
