import hashlib
import json

import pytest
from easyanimate_core import WeightsError, integrity
from easyanimate_core.integrity import hash_weights, verify


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "weights"
    (root / "vae").mkdir(parents=True)
    (root / "model_index.json").write_text("{}")
    (root / "vae" / "w.bin").write_bytes(b"weights")
    (root / ".cache" / "huggingface" / "download" / "vae").mkdir(parents=True)
    return root


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def record(folder, name, promised):
    path = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    path.write_text(f"{'c' * 40}\n{promised}\n1700000000.0\n")


def test_hashes_of_all_files_but_hidden_ones(folder, tmp_path):
    hashes = hash_weights(folder, tmp_path / "cache")
    assert hashes == {"model_index.json": sha256(b"{}"), "vae/w.bin": sha256(b"weights")}


def test_a_file_is_read_again_only_when_it_changed(folder, tmp_path, monkeypatch):
    read = []
    hash_file = integrity.hash_file
    monkeypatch.setattr(integrity, "hash_file", lambda path: read.append(path.name) or hash_file(path))
    first = hash_weights(folder, tmp_path / "cache")
    assert hash_weights(folder, tmp_path / "cache") == first
    assert sorted(read) == ["model_index.json", "w.bin"]
    (folder / "vae" / "w.bin").write_bytes(b"other weights")
    assert hash_weights(folder, tmp_path / "cache")["vae/w.bin"] == sha256(b"other weights")
    assert read[2:] == ["w.bin"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}', '{"a": []}'])
def test_a_damaged_cache_is_made_again(folder, tmp_path, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "hashes.json").write_text(content)
    assert hash_weights(folder, tmp_path / "cache")["vae/w.bin"] == sha256(b"weights")
    assert len(json.loads((tmp_path / "cache" / "hashes.json").read_text())) == 2


def test_a_cache_that_cannot_be_written_does_not_matter(folder, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert hash_weights(folder, tmp_path / "cache")["vae/w.bin"] == sha256(b"weights")


def test_verify_tells_what_the_hub_confirmed(folder):
    record(folder, "vae/w.bin", sha256(b"weights"))
    checks = {check.name: check for check in verify(folder)}
    assert checks["vae/w.bin"].confirmed
    assert not checks["model_index.json"].confirmed
    assert checks["vae/w.bin"].size_bytes == 7


def test_verify_knows_git_hashes(folder):
    # `printf '{}' | git hash-object --stdin`
    record(folder, "model_index.json", "9e26dfeeb6e641a33dae4961196235bdb965b21b")
    told = []
    checks = {check.name: check for check in verify(folder, on_progress=told.append)}
    assert checks["model_index.json"].confirmed
    assert (told[-1].step, told[-1].total) == (9, 9)


def test_verify_refuses_a_changed_file(folder):
    record(folder, "vae/w.bin", sha256(b"something else"))
    with pytest.raises(WeightsError, match=r"w\.bin"):
        verify(folder)
