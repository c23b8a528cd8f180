"""Looks at checkpoint folders without loading them: are all parts there, whole, and of the right kind?

Only headers are read, so that a wrong or half-downloaded folder of many gigabytes is refused within milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import PICKLE_SUFFIXES, check_file, is_weights_file, read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from easyanimate_core.weights_folder import WeightsFolder


@dataclass(frozen=True)
class Component:
    """What a component folder (`transformer`, `vae`, `tokenizer`, ...) must hold.

    Args:
        class_names: Accepted classes, by `_class_name` or `architectures` of the configuration; empty accepts any.
        config: Accepted names of the configuration file, of which one must be there; empty needs none.
        weights: Whether there must be weights.
    """

    class_names: tuple[str, ...] = ()
    config: tuple[str, ...] = ("config.json",)
    weights: bool = True


def check_components(weights: WeightsFolder, components: Mapping[str, Component]) -> None:
    """Raise `WeightsError` unless the folder has all components, each whole and of the right class.

    What the folder has beyond them is not looked at. This is what a plugin's `check_weights` calls.
    """
    folder = weights.path
    check_exists(folder)
    missing = [name for name in components if not (folder / name).is_dir()]
    if missing:
        raise WeightsError(
            f"The checkpoint lacks {', '.join(missing)}: {folder}",
            received=", ".join(sorted(item.name for item in folder.iterdir() if item.is_dir())) or "no folders",
            expected=", ".join(components),
        )
    for name, component in components.items():
        _check_component(weights, name, component)


def check_folder(weights: WeightsFolder) -> None:
    """Raise `WeightsError` unless all that `model_index.json` names is there and whole.

    A folder without that file is only checked for being there and for damaged weight files.
    """
    folder = weights.path
    check_exists(folder)
    index_path = folder / "model_index.json"
    if index_path.is_file():
        for name, value in read_json(index_path).items():
            # A component is [library, class]; one that is left out is [null, null].
            pair = cast("list[object]", value) if isinstance(value, list) else []
            if len(pair) == 2 and pair[0] is not None and not (folder / name).is_dir():  # noqa: PLR2004
                raise WeightsError(f"The checkpoint lacks {name}: {folder}", expected=f"the folder {folder / name}")
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".index.json"):
            _check_shards(path)
        elif is_weights_file(path):
            _check_file(path, weights)


def check_exists(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` is a folder with something in it."""
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing there"
        raise WeightsError(
            f"There is no weights folder {folder}",
            received=kind,
            expected="a folder in the original's layout",
            fix="give the folder; a single file goes to --transformer or --lora beside it" if folder.exists() else None,
        )
    if not any(folder.iterdir()):
        raise WeightsError(f"The weights folder is empty: {folder}", expected="a folder in the original's layout")


def _check_file(path: Path, weights: WeightsFolder) -> None:
    """As `check_file`; a header is read once."""
    if path.suffix == ".safetensors":
        weights.header(path)
    else:
        check_file(path)


def _check_component(weights: WeightsFolder, name: str, component: Component) -> None:
    folder = weights.path / name
    configs = [folder / name for name in component.config if (folder / name).is_file()]
    if component.config and not configs:
        raise WeightsError(
            f"The configuration is missing: {folder / component.config[0]}",
            received=_names(folder),
            expected=" or ".join(component.config),
        )
    if component.class_names:
        config = weights.config(name, configs[0].name)
        found = cast("list[str]", [config.get("_class_name"), *(config.get("architectures") or [])])
        if not set(found) & set(component.class_names):
            raise WeightsError(
                f"This is a checkpoint of another model or version: {configs[0]}",
                received=" ".join(name for name in found if name) or "no class name",
                expected=" or ".join(component.class_names),
                fix="choose the --model that these weights belong to, or other --weights",
            )
    if component.weights:
        _check_weights(weights, folder)


def _check_weights(weights: WeightsFolder, folder: Path) -> None:
    """Whole weights in one of the accepted forms: an index with all its shards, or single files."""
    indexes = sorted(folder.glob("*.index.json"))
    for index in indexes:
        _check_shards(index)
    files = sorted(path for path in folder.iterdir() if is_weights_file(path))
    if not files:
        raise WeightsError(
            f"The weights are missing in {folder}",
            received=_names(folder),
            expected=f"a file that ends in .safetensors or {', '.join(PICKLE_SUFFIXES)}",
        )
    for path in files:
        _check_file(path, weights)


def _check_shards(index: Path) -> None:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise WeightsError(f"The index is damaged: {index}", expected='a JSON object with "weight_map"')
    shards = sorted(set(cast("dict[str, str]", weight_map).values()))
    missing = [name for name in shards if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"Parts of the weights are missing: {', '.join(missing)} in {index.parent}",
            received=f"{len(shards) - len(missing)} of {len(shards)} parts",
            expected=f"all that {index.name} names",
        )


def _names(folder: Path) -> str:
    names: Collection[str] = sorted(item.name for item in folder.iterdir())
    return ", ".join(names) or "an empty folder"
