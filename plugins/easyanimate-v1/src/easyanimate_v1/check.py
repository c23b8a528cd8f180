"""Refuses folders that do not hold whole V1 weights, and finds the motion module that belongs to them. Torch-free."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import Component, check_components, check_exists
from easyanimate_core.download import MODELS_FOLDER
from easyanimate_core.errors import WeightsError
from easyanimate_core.part_files import check_lora_files, check_part_file, holds_motion, is_motion_module
from easyanimate_core.version import refuse_other_version

from easyanimate_v1.config import MOTION_MODULE, MOTION_MODULE_URL

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core import LoadOptions

COMPONENTS = {
    "transformer": Component(),
    "vae": Component(),
    "text_encoder": Component(),
    "tokenizer": Component(config=("tokenizer_config.json",), weights=False),
}


def check_weights(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` holds a whole V1 model; reads headers and configurations only.

    The motion module may lie elsewhere, so it is looked for by `find_files`.
    """
    check_exists(folder)
    refuse_other_version(folder, "v1")
    for place in (folder, folder / "transformer"):
        files = sorted(place.glob("*.safetensors"))
        if files and all(is_motion_module(path) for path in files):
            raise _no_transformer(files[0])
    check_components(folder, COMPONENTS)


def find_files(options: LoadOptions) -> LoadOptions:
    """Check the files given beside the weights, and fill in a motion module that lies outside their folder.

    Raises:
        WeightsError: A file is missing or damaged, or the transformer has no motion module.
    """
    folder, transformer = options.weights, options.transformer
    if transformer is not None:
        check_part_file(transformer)
        if is_motion_module(transformer):
            raise _no_transformer(transformer)
    check_lora_files(options)
    if folder is None:
        return options
    found = find_motion_module(options)
    # What lies in the folder is recorded with it.
    return options if found is None or found.is_relative_to(folder) else replace(options, motion_module=found)


def find_motion_module(options: LoadOptions) -> Path | None:
    """The file of the motion module: the given one, the folder's own, or the one in the original's layout.

    Returns:
        None when the transformer's files hold the motion module.

    Raises:
        WeightsError: There is none, or several, or the file is damaged.
    """
    folder = options.weights
    if options.motion_module is not None:
        check_part_file(options.motion_module)
        if options.motion_module.suffix == ".safetensors" and not is_motion_module(options.motion_module):
            raise _no_motion_module(options.motion_module)
        return options.motion_module
    if folder is None:
        return None
    if holds_motion([*(folder / "transformer").glob("*.safetensors"), *filter(None, [options.transformer])]):
        return None
    own = sorted((folder / "motion_module").glob("*.safetensors"))
    whole = folder.resolve()
    models = whole.parents[1] if whole.parent.name == "Diffusion_Transformer" else MODELS_FOLDER
    place = models / "Motion_Module"
    found = own or sorted(place.glob("*.safetensors"))
    if len(found) == 1:
        check_part_file(found[0])
        return found[0]
    if found:
        raise WeightsError(
            f"There are several motion modules for the transformer of {folder}",
            received=", ".join(path.name for path in found),
            expected="one of them",
            fix=f"ea run --model v1 --weights {folder} --motion-module {found[0]}",
        )
    raise WeightsError(
        f"This is a transformer without its motion module: {folder}",
        received=f"none in {folder / 'motion_module'} and in {place}",
        expected=f"models/{MOTION_MODULE}, or --motion-module FILE",
        fix=f"mkdir -p {place} && wget {MOTION_MODULE_URL} -P {place}",
    )


def _no_transformer(path: Path) -> WeightsError:
    return WeightsError(
        f"This is a motion module without its transformer: {path}",
        received="nothing but tensors of a motion module",
        expected="the image transformer, with the motion module beside it",
        fix=f"ea weights pull v1 official && ea run --model v1 --weights official --motion-module {path}",
    )


def _no_motion_module(path: Path) -> WeightsError:
    return WeightsError(
        f"This is not the file of a motion module: {path}",
        received="a file with other tensors",
        expected=f"a file such as models/{MOTION_MODULE}",
        fix=f"for a transformer, use --transformer {path}",
    )
