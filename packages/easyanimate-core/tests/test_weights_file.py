"""A header of safetensors is believed where it fits itself and the file, and nowhere else."""

import json
import os
import struct

import numpy as np
import pytest
from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import check_file, read_header, read_metadata
from safetensors.numpy import save_file


def write(path, header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_safetensors_writes(tmp_path):
    tensors = {"a": np.zeros((2, 3), np.float16), "b": np.zeros((), np.int64), "c": np.zeros((0, 4), np.float32)}
    save_file(tensors, tmp_path / "a.sft", metadata={"format": "pt"})
    assert {name: (info.dtype, info.shape) for name, info in read_header(tmp_path / "a.sft").items()} == {
        "a": ("F16", (2, 3)),
        "b": ("I64", ()),
        "c": ("F32", (0, 4)),
    }
    assert read_metadata(tmp_path / "a.sft") == {"format": "pt"}


@pytest.mark.parametrize(
    ("header", "content", "message"),
    [
        ({"a": entry(0, 10**13, [10**13 // 4])}, 8, "incomplete"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12, "begins at byte 4"),
        ({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, 20, "begins at byte 12"),
        ({"a": entry(-8, 0, [2])}, 0, r"a\.data_offsets\[0\]"),
        ({"a": entry(8, 0, [2])}, 8, r"a\.data_offsets"),
        ({"a": entry(0, 8, [3])}, 8, r"begin and end of 12 bytes"),
        ({"a": entry(0, 8, [2], "F3")}, 8, r"(?s)a\.dtype.*received: F3"),
        ({"a": entry(0, 8, [2], 7)}, 8, r"a\.dtype"),
        ({"a": entry(0.0, 8.0, [2])}, 8, "data_offsets"),
        ({"a": entry(0, 8, [2.0])}, 8, r"a\.shape\[0\]"),
        ({"a": entry(0, 8, [1] * 99)}, 8, r"a\.shape"),
        ({"a": {"dtype": "F32"}}, 8, "a.shape is missing"),
        ({"a": None}, 0, "a is missing"),
        ({"__metadata__": {"x": 3}}, 0, "__metadata__.x"),
        ([], 0, "no names"),
        (b'{"a": ' + b"[" * 100_000, 0, "nested too deeply"),
        (b'{"a": 1, "a": 2}', 0, "twice"),
        (b"\xff\xfe{}", 0, "no JSON"),
    ],
)
def test_a_header_that_does_not_fit(tmp_path, header, content, message):
    with pytest.raises(WeightsError, match=message):
        read_header(write(tmp_path / "a.safetensors", header, bytes(content)))


def test_a_length_that_is_none(tmp_path):
    for length in (0, 1, 2**40, 2**64 - 1):
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(WeightsError, match="no safetensors file"):
            read_header(tmp_path / "a.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFO in folders")
@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_pipe_or_a_folder_is_no_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="something else"):
        check_file(tmp_path / name)
    (tmp_path / f"folder-{name}").mkdir()
    with pytest.raises(WeightsError, match="a folder"):
        check_file(tmp_path / f"folder-{name}")
