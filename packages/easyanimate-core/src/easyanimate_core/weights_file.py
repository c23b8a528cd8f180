"""Single files of a checkpoint, looked at without loading them: headers of safetensors, JSON, damage."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import read_object

if TYPE_CHECKING:
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
    """Read a JSON object of bounded size and depth; `WeightsError` names the file when it is missing or damaged."""
    return dict(read_object(path).values)


def is_weights_file(path: Path) -> bool:
    """Whether a file has the ending of weights."""
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
