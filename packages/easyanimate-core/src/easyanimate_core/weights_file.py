"""Single files of a checkpoint, looked at without loading them: headers of safetensors, JSON, damage."""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import parse_object, read_object, shorten

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core.json_object import JsonObject

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
"""File endings of safetensors."""
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""File endings of PyTorch's own format."""
WEIGHTS_SUFFIXES = (*SAFETENSORS_SUFFIXES, *PICKLE_SUFFIXES)
"""File endings of weights."""

DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
"""Bytes of a number in safetensors, by the format's words."""

_LFS_POINTER = b"version https://git-lfs"
_MAX_HEADER_BYTES = 32_000_000  # the format allows three times that; the largest headers have some megabytes
_MAX_AXES = 16
_MAX_PICKLE_BYTES = 64_000_000  # of the description of the tensors, not the tensors


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as its file's header describes it: `dtype` in safetensors' words ("F32", "BF16", ...), and shape."""

    dtype: str
    shape: tuple[int, ...]


def check_file(path: Path) -> None:
    """Raise `WeightsError` unless a weights file is whole, as far as its header tells."""
    _check_regular(path)
    if path.suffix in SAFETENSORS_SUFFIXES:
        read_header(path)
        return
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    _refuse_pointer(path, start)
    if not start:
        raise WeightsError(f"The file is empty: {path}", received="0 bytes", expected="a whole PyTorch file")
    # PyTorch writes zip files since 1.6; what begins otherwise may be its older format, which only reading tells.
    if start.startswith(b"PK"):
        _check_zip(path)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read which tensors a safetensors file holds.

    Raises:
        WeightsError: When it is no such file, its size differs from what the header says, or the header is not one of
            the format: an unknown kind of number, places of tensors that overlap, leave gaps or do not fit the shapes.
    """
    return _read_header(path)[0]


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file carries beside its tensors.

    Raises:
        WeightsError: See `read_header`.
    """
    return _read_header(path)[1]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size and depth; `WeightsError` names the file when it is missing or damaged."""
    return dict(read_object(path).values)


def is_weights_file(path: Path) -> bool:
    """Whether a file has the ending of weights and is not hidden, as what macOS and downloads leave behind is."""
    return path.suffix in WEIGHTS_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    _check_regular(path)
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
    header = parse_object(text, f"the header of {path}", max_bytes=_MAX_HEADER_BYTES)
    metadata: dict[str, str] = {}
    if "__metadata__" in header:
        fields = header.object("__metadata__")
        metadata = {name: fields.text(name, most=_MAX_HEADER_BYTES) for name in fields}
    tensors: dict[str, TensorInfo] = {}
    places: list[tuple[int, int, str]] = []
    for name in header:
        if name != "__metadata__":
            tensors[name], (begin, end) = _read_entry(header.object(name))
            places.append((begin, end, name))
    end = _check_places(path, places)
    if size != 8 + length + end:
        raise _incomplete(path, size, f"{8 + length + end} bytes")
    return tensors, metadata


def _read_entry(entry: JsonObject) -> tuple[TensorInfo, tuple[int, int]]:
    """A tensor of a header, and the bytes where it lies."""
    dtype = entry.text("dtype", accepted=DTYPE_BYTES)
    shape = entry.counts("shape", most=_MAX_AXES)
    offsets = entry.counts("data_offsets", most=2)
    needed = math.prod(shape) * DTYPE_BYTES[dtype]
    if len(offsets) != 2 or offsets[1] - offsets[0] != needed:  # noqa: PLR2004 (begin and end)
        raise entry.refuse("data_offsets", offsets, f"begin and end of {needed:,} bytes, for {dtype} {shape}")
    return TensorInfo(dtype, tuple(shape)), (offsets[0], offsets[1])


def _check_places(path: Path, places: list[tuple[int, int, str]]) -> int:
    """Raise `WeightsError` unless tensors lie one after the other; returns where the last one ends."""
    end = 0
    for begin, stop, name in sorted(places):
        if begin != end:
            raise WeightsError(
                f"The header of the file is damaged: {path}",
                received=f"{shorten(name)} begins at byte {begin:,}, and what is before it ends at {end:,}",
                expected="tensors one after the other, as safetensors has them",
            )
        end = stop
    return end


def _check_zip(path: Path) -> None:
    """Raise `WeightsError` unless a zip file is one of PyTorch's, which are never compressed."""
    size = path.stat().st_size
    try:
        # Its directory stands at the end, so a cut file lacks it.
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(
            f"The file is incomplete: {path}",
            received=f"{size} bytes, without the end of a PyTorch file",
            expected="a whole PyTorch file",
        ) from error
    descriptions = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or not descriptions or sum(entry.file_size for entry in entries) > size:
        raise WeightsError(
            f"This is no PyTorch file: {path}",
            received="a zip file that is compressed" if packed else "a zip file without PyTorch's data.pkl",
            expected="a file as torch.save writes it",
        )
    if descriptions[0].file_size > _MAX_PICKLE_BYTES:
        raise WeightsError(
            f"This is no file of weights: {path}",
            received=f"{descriptions[0].file_size:,} bytes beside the tensors",
            expected=f"at most {_MAX_PICKLE_BYTES:,}",
        )


def _check_regular(path: Path) -> None:
    """Raise `WeightsError` for what is no file: a pipe or a device would never end."""
    try:
        if path.is_file():
            with path.open("rb"):
                return
        received = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing there"
    except (OSError, ValueError) as error:  # not allowed; or NUL in its name
        received = str(error)
    raise WeightsError(
        f"There is no weights file {path}",
        received=received,
        expected=f"a file that ends in {', '.join(WEIGHTS_SUFFIXES)}",
    )


def _refuse_pointer(path: Path, start: bytes) -> None:
    if start.startswith(_LFS_POINTER):
        raise WeightsError(
            f"The file is a Git LFS pointer, not the weights: {path}",
            received=f"{path.stat().st_size} bytes of text",
            expected="the file that it points to",
        )


def _incomplete(path: Path, size: int, expected: str) -> WeightsError:
    return WeightsError(f"The file is incomplete: {path}", received=f"{size} bytes", expected=expected)
