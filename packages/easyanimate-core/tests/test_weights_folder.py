"""A weights folder is read once, whatever is asked of it."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from easyanimate_core import Defaults, TrainedRange, WeightsError, WeightsFolder, weights_folder
from easyanimate_core.checkpoint import check_folder
from easyanimate_core.weights_folder import complete_config
from safetensors.numpy import save_file


@pytest.fixture
def path(tmp_path):
    """A folder with two components."""
    for name in ("transformer", "vae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"_class_name": name}))
    save_file({"a": np.zeros((3, 5), np.float16)}, tmp_path / "transformer" / "1.safetensors")
    save_file({"b": np.zeros(2, np.float32)}, tmp_path / "transformer" / "2.safetensors")
    (tmp_path / "vae" / "vae.bin").write_bytes(b"x" * 100)
    return tmp_path


def settings(path, **sections):
    (path / "easyanimate.json").write_text(json.dumps(sections))
    return WeightsFolder(path)


@pytest.fixture
def opened(monkeypatch):
    """How often each file was read."""
    counter = Counter()
    for name in ("read_header", "read_json"):
        read = getattr(weights_folder, name)
        monkeypatch.setattr(weights_folder, name, lambda path, read=read: counter.update([path.name]) or read(path))
    return counter


def test_every_file_is_read_once(path, opened):
    folder = settings(path, defaults={"height": 64}, trained={"max_frames": 16}, training={"dit": {"max_steps": 3}})
    for _ in range(3):
        assert folder.config("vae") == {"_class_name": "vae"}
        assert folder.config("vae", "other.json") == folder.config("none") == {}
        assert {name: info.shape for name, info in folder.tensors("transformer").items()} == {"a": (3, 5), "b": (2,)}
        assert folder.count_bytes(2) == 2 * 17 + 100
        assert folder.count_bytes(4) == 4 * 17 + 100
        assert folder.defaults(Defaults()).height == 64
        assert folder.trained(None).max_frames == 16
        assert folder.training("dit") == {"max_steps": 3}
        assert folder.training("vae") == {}
        check_folder(folder)
    assert opened == Counter({"config.json": 1, "1.safetensors": 1, "2.safetensors": 1, "easyanimate.json": 1})


def test_all_files_of_weights_are_read_ahead(path, monkeypatch):
    asked = []
    for name in ("posix_fadvise", "POSIX_FADV_WILLNEED"):
        monkeypatch.setattr(os, name, None, raising=False)
    monkeypatch.setattr(os, "posix_fadvise", lambda file, *rest: asked.append((os.fstat(file).st_size, *rest)))
    WeightsFolder(path).read_ahead()
    sizes = [
        one.stat().st_size for one in (*sorted((path / "transformer").glob("*.safetensors")), path / "vae/vae.bin")
    ]
    assert asked == [(size, 0, 0, None) for size in sizes]


def test_a_folder_that_is_not_there(tmp_path):
    folder = WeightsFolder(tmp_path / "none")
    assert (folder.config("vae"), folder.tensors("vae"), folder.count_bytes(2)) == ({}, {}, 0)
    assert folder.defaults(Defaults()) == Defaults()
    assert str(folder) == str(tmp_path / "none")


def test_damage_is_told(path):
    (path / "vae" / "config.json").write_text("{")
    (path / "transformer" / "1.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"config\.json"):
        WeightsFolder(path).config("vae")
    with pytest.raises(WeightsError, match=r"1\.safetensors"):
        WeightsFolder(path).tensors("transformer")


def test_defaults_of_weights(path):
    base = Defaults(height=384)
    assert WeightsFolder(path).defaults(base) == base
    read = settings(path, defaults={"height": 64, "guidance_scale": 5, "sampler": "ddim"}, licence="MIT").defaults(base)
    assert (read.height, read.width, read.guidance_scale, read.sampler) == (64, base.width, 5, "ddim")


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"heigth": 64}, "did you mean height?"),
        ({"height": "64"}, "height: int"),
        ({"height": True}, "height: int"),
        ([64], "no JSON object"),
    ],
)
def test_wrong_defaults(path, defaults, message):
    with pytest.raises(WeightsError) as caught:
        settings(path, defaults=defaults).defaults(Defaults())
    assert message in str(caught.value)
    assert "easyanimate.json" in str(caught.value)


def test_what_weights_were_trained_on(path):
    base = TrainedRange(max_frames=80)
    assert WeightsFolder(path).trained(base) is base
    assert settings(path, defaults={"height": 64}).trained(base) is None
    read = settings(path, trained={"max_frames": 16, "min_side": 64, "max_side": 64}).trained(base)
    assert read == TrainedRange(max_frames=16, min_side=64, max_side=64)
    with pytest.raises(WeightsError, match="Unknown trained"):
        settings(path, trained={"side": 64}).trained(base)


def test_settings_of_a_trainer(path):
    with pytest.raises(WeightsError, match="training settings of dit"):
        settings(path, training={"dit": 3}).training("dit")


def test_a_written_configuration_counts_if_it_is_of_the_class():
    release = {"_class_name": "New", "in_channels": 12, "depth": 40}
    assert complete_config({"_class_name": "New", "depth": 4}, "New", release) == {**release, "depth": 4}
    assert complete_config({"depth": 4}, "New", release)["depth"] == 4
    assert complete_config({"_class_name": "Old2D", "depth": 4}, "New", release) == release
