"""Looks at checkpoint folders without loading them: are all parts there, whole, and of the right kind?

Only headers are read, so that a wrong or half-downloaded folder of many gigabytes is refused within milliseconds.
"""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""File endings of PyTorch's own format."""

_LFS_POINTER = b"version https://git-lfs"
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as its file's header describes it: `dtype` in safetensors' words ("F32", "BF16", ...), and shape."""

    dtype: str
    shape: tuple[int, ...]


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


def check_components(folder: Path, components: Mapping[str, Component]) -> None:
    """Raise `WeightsError` unless `folder` has all components, each whole and of the right class.

    What the folder has beyond them is not looked at. This is what a plugin's `check_weights` calls.
    """
    check_exists(folder)
    missing = [name for name in components if not (folder / name).is_dir()]
    if missing:
        raise WeightsError(
            f"The checkpoint lacks {', '.join(missing)}: {folder}",
            received=", ".join(sorted(item.name for item in folder.iterdir() if item.is_dir())) or "no folders",
            expected=", ".join(components),
        )
    for name, component in components.items():
        _check_component(folder / name, component)


def check_folder(folder: Path) -> None:
    """Raise `WeightsError` unless all that `model_index.json` names is there and whole.

    A folder without that file is only checked for being there and for damaged weight files.
    """
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
        elif _is_weights(path):
            check_file(path)


def check_exists(folder: Path) -> None:
    """Raise `WeightsError` unless `folder` is a folder with something in it."""
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing there"
        raise WeightsError(
            f"There is no weights folder {folder}",
            received=kind,
            expected="a folder in the original's layout",
            fix="give the folder; a single file goes to --transformer, --motion-module or --lora beside it"
            if folder.exists()
            else None,
        )
    if not any(folder.iterdir()):
        raise WeightsError(f"The weights folder is empty: {folder}", expected="a folder in the original's layout")


def check_file(path: Path) -> None:
    """Raise `WeightsError` unless a weights file is whole, as far as its header tells."""
    if path.suffix == ".safetensors":
        read_header(path)
        return
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    _refuse_pointer(path, start)
    # PyTorch writes zip files since 1.6; their directory stands at the end, so a cut file lacks it.
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise WeightsError(
            f"The file is incomplete: {path}",
            received=f"{path.stat().st_size} bytes, without the end of a PyTorch file",
            expected="a whole PyTorch file",
        )
    if not start:
        raise WeightsError(f"The file is empty: {path}", received="0 bytes", expected="a whole PyTorch file")


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read which tensors a safetensors file holds.

    Raises:
        WeightsError: When it is no such file, or its size differs from what the header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        _refuse_pointer(path, start + file.read(len(_LFS_POINTER) - 8))
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1  # noqa: PLR2004 (64-bit length)
        if not 2 <= length <= _MAX_HEADER_BYTES:  # noqa: PLR2004 (the shortest JSON object)
            raise WeightsError(
                f"This is no safetensors file: {path}", received=f"{size} bytes", expected="a safetensors file"
            )
        file.seek(8)
        text = file.read(length)
    if len(text) < length:
        raise _incomplete(path, size, f"more than {8 + length} bytes")
    try:
        header = cast("dict[str, dict[str, Any]]", json.loads(text))
        header.pop("__metadata__", None)
        tensors = {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(
            f"The header of the file is damaged: {path}", received=f"{size} bytes", expected="a safetensors file"
        ) from error
    if size != 8 + length + end:
        raise _incomplete(path, size, f"{8 + length + end} bytes")
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; `WeightsError` names the file when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"The file cannot be read: {path}", received=error, expected="a JSON file") from error
    if not isinstance(content, dict):
        raise WeightsError(f"The file holds no settings: {path}", expected="a JSON object")
    return cast("dict[str, Any]", content)


def complete_config(written: Mapping[str, Any], class_name: str, release: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that a component is built with.

    Args:
        written: What its `config.json` says. It counts if it is one of this class; otherwise it describes the 2D model
            that the component was trained from, and the release stands.
        class_name: Of the component.
        release: The values of the released checkpoint.
    """
    return {**release, **written} if written.get("_class_name", class_name) == class_name else dict(release)


def _check_component(folder: Path, component: Component) -> None:
    configs = [folder / name for name in component.config if (folder / name).is_file()]
    if component.config and not configs:
        raise WeightsError(
            f"The configuration is missing: {folder / component.config[0]}",
            received=_names(folder),
            expected=" or ".join(component.config),
        )
    if component.class_names:
        config = read_json(configs[0])
        found = cast("list[str]", [config.get("_class_name"), *(config.get("architectures") or [])])
        if not set(found) & set(component.class_names):
            raise WeightsError(
                f"This is a checkpoint of another model or version: {configs[0]}",
                received=" ".join(name for name in found if name) or "no class name",
                expected=" or ".join(component.class_names),
                fix="choose the --model that these weights belong to, or other --weights",
            )
    if component.weights:
        _check_weights(folder)


def _check_weights(folder: Path) -> None:
    """Whole weights in one of the accepted forms: an index with all its shards, or single files."""
    indexes = sorted(folder.glob("*.index.json"))
    for index in indexes:
        _check_shards(index)
    files = sorted(path for path in folder.iterdir() if _is_weights(path))
    if not files:
        raise WeightsError(
            f"The weights are missing in {folder}",
            received=_names(folder),
            expected=f"a file that ends in .safetensors or {', '.join(PICKLE_SUFFIXES)}",
        )
    for path in files:
        check_file(path)


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


def _is_weights(path: Path) -> bool:
    return path.suffix in (".safetensors", *PICKLE_SUFFIXES) and path.is_file()


def _refuse_pointer(path: Path, start: bytes) -> None:
    if start.startswith(_LFS_POINTER):
        raise WeightsError(
            f"The file is a Git LFS pointer, not the weights: {path}",
            received=f"{path.stat().st_size} bytes of text",
            expected="the file that it points to",
        )


def _incomplete(path: Path, size: int, expected: str) -> WeightsError:
    return WeightsError(f"The file is incomplete: {path}", received=f"{size} bytes", expected=expected)


def _names(folder: Path) -> str:
    names: Collection[str] = sorted(item.name for item in folder.iterdir())
    return ", ".join(names) or "an empty folder"
