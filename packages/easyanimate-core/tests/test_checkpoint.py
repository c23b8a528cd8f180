import json

import numpy as np
import pytest
from easyanimate_core import WeightsError, WeightsFolder
from easyanimate_core.checkpoint import Component, check_components, check_folder
from easyanimate_core.weights_file import check_file, read_header
from safetensors.numpy import save_file

PARTS = {
    "transformer": Component(class_names=("HunyuanTransformer3DModel",)),
    "text_encoder": Component(class_names=("BertModel",)),
    "tokenizer": Component(config=("tokenizer_config.json", "vocab.txt"), weights=False),
}


@pytest.fixture
def folder(tmp_path):
    """A small checkpoint in diffusers' layout."""
    root = tmp_path / "checkpoint"
    for name in PARTS:
        (root / name).mkdir(parents=True)
    write(root / "model_index.json", {"_class_name": "P", "transformer": ["d", "C"], "safety": [None, None]})
    write(root / "transformer" / "config.json", {"_class_name": "HunyuanTransformer3DModel"})
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.zeros(2, np.float16)}, root / "transformer" / "w.safetensors")
    write(root / "text_encoder" / "config.json", {"architectures": ["BertModel"]})
    save_file({"a": np.zeros(7, np.float32)}, root / "text_encoder" / "model.safetensors")
    (root / "tokenizer" / "vocab.txt").write_text("a\n")
    return root


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def refusal(folder):
    with pytest.raises(WeightsError) as caught:
        check_components(WeightsFolder(folder), PARTS)
    return str(caught.value)


def test_a_whole_checkpoint_passes(folder):
    check_components(WeightsFolder(folder), PARTS)
    check_folder(WeightsFolder(folder))


def test_header_tells_names_types_and_shapes(folder):
    header = read_header(folder / "transformer" / "w.safetensors")
    assert {name: (info.dtype, info.shape) for name, info in header.items()} == {
        "a": ("F32", (3, 5)),
        "b": ("F16", (2,)),
    }


def test_a_missing_folder_and_a_file_in_its_place(tmp_path):
    with pytest.raises(WeightsError, match="no weights folder"):
        check_folder(WeightsFolder(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="a file"):
        check_folder(WeightsFolder(tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="empty"):
        check_folder(WeightsFolder(tmp_path / "empty"))


def test_a_missing_component(folder):
    (folder / "transformer").rename(folder / "other")
    assert "lacks transformer" in refusal(folder)
    with pytest.raises(WeightsError, match="lacks transformer"):
        check_folder(WeightsFolder(folder))


def test_another_version(folder):
    write(folder / "transformer" / "config.json", {"_class_name": "Transformer3DModel"})
    message = refusal(folder)
    assert "another model or version" in message
    assert "received: Transformer3DModel" in message
    assert "HunyuanTransformer3DModel" in message


def test_damaged_and_missing_configuration(folder):
    path = folder / "transformer" / "config.json"
    path.write_text("{")
    assert "config.json" in refusal(folder)
    path.unlink()
    assert "configuration is missing" in refusal(folder)


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_half_downloaded_file(folder, kept):
    path = folder / "transformer" / "w.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    message = refusal(folder)
    assert str(path) in message
    assert f"received: {len(content[:kept])} bytes" in message
    if kept == -1:
        assert f"accepted: {len(content)} bytes" in message
    with pytest.raises(WeightsError):
        check_folder(WeightsFolder(folder))


def test_a_file_with_something_behind(folder):
    path = folder / "transformer" / "w.safetensors"
    path.write_bytes(path.read_bytes() + b"more")
    assert "incomplete" in refusal(folder)


@pytest.mark.parametrize("header", [b"[1, 2]", b'{"a": 3}', b'{"a": {"dtype": "F32"}}', b"not json at all"])
def test_a_damaged_header(folder, header):
    path = folder / "transformer" / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "damaged" in refusal(folder)


def test_a_git_lfs_pointer(folder):
    for name in ("w.safetensors", "w.bin"):
        path = folder / "transformer" / name
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5000\n")
        with pytest.raises(WeightsError, match="Git LFS pointer"):
            check_file(path)


def test_no_weights_at_all(folder):
    (folder / "transformer" / "w.safetensors").unlink()
    assert "weights are missing" in refusal(folder)


def test_shards(folder):
    part = folder / "transformer"
    (part / "w.safetensors").rename(part / "w-00001-of-00002.safetensors")
    index = part / "w.safetensors.index.json"
    write(index, {"weight_map": {"a": "w-00001-of-00002.safetensors", "b": "w-00002-of-00002.safetensors"}})
    message = refusal(folder)
    assert "w-00002-of-00002.safetensors" in message
    assert "1 of 2 parts" in message
    with pytest.raises(WeightsError, match="Parts of the weights"):
        check_folder(WeightsFolder(folder))
    save_file({"b": np.zeros(1, np.float32)}, part / "w-00002-of-00002.safetensors")
    check_components(WeightsFolder(folder), PARTS)
    write(index, {})
    assert "weight_map is missing" in refusal(folder)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
def test_pytorch_files(folder, suffix):
    """PyTorch's files are zip archives; a cut one has lost the directory at its end."""
    import zipfile

    part = folder / "transformer"
    (part / "w.safetensors").unlink()
    path = part / f"w{suffix}"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"x" * 5000)
    check_components(WeightsFolder(folder), PARTS)
    path.write_bytes(path.read_bytes()[:3000])
    assert "received: 3000 bytes" in refusal(folder)
    path.write_bytes(b"\x80\x02 a file of PyTorch before 1.6")
    check_components(WeightsFolder(folder), PARTS)
    path.write_bytes(b"")
    assert "empty" in refusal(folder)


@pytest.mark.parametrize(
    "claim",
    [
        {"quantization_config": {"load_in_8bit": True}},
        {"auto_map": {"AutoModel": "a.B"}},
        {"attn_implementation": "owner/kernel"},
    ],
)
def test_what_a_configuration_asks_for_beside_the_model_is_named(folder, claim):
    path = folder / "text_encoder" / "config.json"
    write(path, json.loads(path.read_text()) | claim)
    assert next(iter(claim)) in refusal(folder)
    write(path, json.loads(path.read_text()) | dict.fromkeys(claim))
    check_components(WeightsFolder(folder), PARTS)
