"""Weights files are read whole, and compared with a model, or an error says what is wrong."""

import pytest
import torch
from easyanimate_core.errors import WeightsError
from easyanimate_torch.checkpoint import check_shapes, read_weights
from safetensors.torch import save_file


def test_both_formats_give_the_same_tensors(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"state_dict": tensors}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        read = read_weights(tmp_path / name)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[key], tensors[key]) for key in tensors)


def test_unreadable_files_are_errors(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "half.safetensors").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "half.safetensors")


def test_all_differences_are_counted_and_named():
    own = {"kept": (2,), "gone": (3,), "bent": (4, 4)}
    found = {"kept": (2,), "bent": (4, 5), "more": (1,), "loss.x": (1,)}
    with pytest.raises(WeightsError, match=r"1 missing:\s+gone\s+1 unexpected:\s+more\s+1 of another shape:\s+bent"):
        check_shapes(own, found, source="file", known_extras=[r"^loss\."])
    check_shapes({"kept": (2,)}, {"kept": (2,), "loss.x": (1,)}, source="file", known_extras=[r"^loss\."])
