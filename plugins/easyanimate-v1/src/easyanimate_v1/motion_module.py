"""V1's motion module: a file beside the image transformer, given or found. Torch-free."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from easyanimate_core import PartFile, WeightsError
from easyanimate_core.download import MODELS_FOLDER, models_home
from easyanimate_core.part_files import check_part_file
from easyanimate_core.spec import TRANSFORMER_FILE
from easyanimate_core.weights_file import read_header
from easyanimate_dit.loading.motion_file import holds_motion_module, is_motion_module

from easyanimate_v1.config import MOTION_MODULE_PATH, MOTION_MODULE_URL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from easyanimate_core import LoadOptions, WeightsFolder

MOTION_MODULE = PartFile(
    name="motion_module",
    summary="Motion module of V1, where it is not found beside the weights.",
    matches=is_motion_module,
)


def refuse_motion_module(folder: WeightsFolder) -> None:
    """Raise `WeightsError` for a folder with a motion module in the transformer's place; another may lie elsewhere."""
    for place in (folder.path, folder.path / "transformer"):
        files = sorted(place.glob("*.safetensors"))
        if files and all(is_motion_module(folder.header(path)) for path in files):
            raise _no_transformer(files[0])


def find_files(options: LoadOptions) -> LoadOptions:
    """Fill in a motion module that lies outside the weights folder: `ModelSpec.find_files`.

    Raises:
        WeightsError: There is none, or several, or the file is damaged.
    """
    found = find_motion_module(options)
    # What lies in the folder is recorded with it.
    if found is None or options.weights is None or found.is_relative_to(options.weights.path):
        return options
    return replace(options, parts={**options.parts, MOTION_MODULE.name: found})


def find_motion_module(options: LoadOptions) -> Path | None:
    """The file of the motion module: the given one, the folder's own, or the one in the original's layout.

    Returns:
        None when the transformer's files hold the motion module.

    Raises:
        WeightsError: There is none, or several, or the file is damaged.
    """
    if MOTION_MODULE.name in options.parts:
        return options.parts[MOTION_MODULE.name]
    if options.weights is None:
        return None
    replaced = options.parts.get(TRANSFORMER_FILE.name)
    names = [*options.weights.tensors("transformer"), *(_read_names(replaced) if replaced else ())]
    if holds_motion_module(names):
        return None
    folder = options.weights.path
    own = sorted((folder / "motion_module").glob("*.safetensors"))
    whole = folder.resolve()
    beside = [whole.parents[1]] if whole.parent.name == "Diffusion_Transformer" else [MODELS_FOLDER, models_home()]
    places = [models / "Motion_Module" for models in beside]
    place = next((place for place in places if any(place.glob("*.safetensors"))), places[-1])
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
        expected=f"models/{MOTION_MODULE_PATH}, or --motion-module FILE",
        fix=f"mkdir -p {place} && wget {MOTION_MODULE_URL} -P {place}",
    )


def _no_transformer(path: Path) -> WeightsError:
    return WeightsError(
        f"This is a motion module without its transformer: {path}",
        received="nothing but tensors of a motion module",
        expected="the image transformer, with the motion module beside it",
        fix=f"ea weights pull v1 official && ea run --model v1 --weights official --motion-module {path}",
    )


def _read_names(path: Path) -> Iterable[str]:
    """Names of the tensors of a file, as far as its header tells."""
    return read_header(path) if path.suffix == ".safetensors" else ()
