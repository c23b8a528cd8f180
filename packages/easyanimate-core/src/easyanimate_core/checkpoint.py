"""Looks at checkpoint folders without loading them: are all parts there, whole, and of the right kind?

Only headers are read, so that a wrong or half-downloaded folder of many gigabytes is refused within milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import JsonObject, read_object, shorten
from easyanimate_core.listing import check_parts, find_weights_folders, list_weights
from easyanimate_core.weights_file import SAFETENSORS_SUFFIXES, check_file, is_weights_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from easyanimate_core.weights_folder import WeightsFolder

_PLAIN_ATTENTION = ("eager", "sdpa")
_CLAIMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "quantization_config": ("quantised weights", ()),
    "auto_map": ("code of its own", ()),
    "custom_pipelines": ("code of its own", ()),
    "trust_remote_code": ("code of its own", ()),
    "attn_implementation": ("an attention that is not here", _PLAIN_ATTENTION),
    "_attn_implementation": ("an attention that is not here", _PLAIN_ATTENTION),
    "_attn_implementation_internal": ("an attention that is not here", _PLAIN_ATTENTION),
}
"""Fields that are not followed: what they ask for, and values that ask for nothing."""


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
        for name, value in read_object(index_path).values.items():
            # A component is [library, class]; one that is left out is [null, null].
            pair = cast("list[object]", value) if isinstance(value, list) else []
            if len(pair) != 2 or pair[0] is None:  # noqa: PLR2004
                continue
            if PurePosixPath(name).name != name or not (folder / name).is_dir():
                raise WeightsError(
                    f"The checkpoint lacks {shorten(name)}: {folder}", expected=f"a folder {shorten(name)} in it"
                )
    for place in find_weights_folders(folder):
        check_parts(place)
        for path in sorted(place.iterdir()):
            if is_weights_file(path):
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


def check_claims(config: JsonObject) -> None:
    """Raise `WeightsError` for a configuration that asks for what is not done here: code, quantised weights.

    Libraries would try to follow such a field: import packages, run code beside the weights.
    """
    for name, (meaning, accepted) in _CLAIMS.items():
        value = config.values.get(name)
        if value not in (None, False, "", *accepted) and value != {}:
            raise WeightsError(
                f"The configuration asks for {meaning}: {config.source}",
                received=f"{name}: {shorten(value)}",
                expected=f"no {name}" + (f", or {' or '.join(accepted)}" if accepted else ""),
                fix="use weights in a plain number format, as the release has them",
            )


def _check_file(path: Path, weights: WeightsFolder) -> None:
    """As `check_file`; a header is read once."""
    if path.suffix in SAFETENSORS_SUFFIXES:
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
    for path in configs:
        if path.suffix == ".json":
            check_claims(JsonObject(weights.config(name, path.name), str(path)))
    if component.class_names:
        config = JsonObject(weights.config(name, configs[0].name), str(configs[0]))
        found = [config.text("_class_name", ""), *config.texts("architectures", (), most=16)]
        if not set(found) & set(component.class_names):
            raise WeightsError(
                f"This is a checkpoint of another model or version: {configs[0]}",
                received=shorten(" ".join(name for name in found if name)) or "no class name",
                expected=" or ".join(component.class_names),
                fix="choose the --model that these weights belong to, or other --weights",
            )
    if component.weights:
        _check_weights(weights, folder)


def _check_weights(weights: WeightsFolder, folder: Path) -> None:
    """Raise `WeightsError` unless the files that would be loaded are whole."""
    for path in list_weights(folder):
        _check_file(path, weights)


def _names(folder: Path) -> str:
    names: Collection[str] = sorted(item.name for item in folder.iterdir())
    return ", ".join(names) or "an empty folder"
