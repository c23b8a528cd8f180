"""Files beside the weights, and warnings of what the weights were not trained for."""

from __future__ import annotations

from pathlib import Path

import pytest
from easyanimate_core.manifest import read_manifest

RUN = ("run", "--model", "fake-part", "--prompt", "a circle", "--size", "48x64", "-o", "x.mp4")


@pytest.fixture
def files():
    """A transformer and a motion module."""
    for name in ("transformer", "motion"):
        Path(f"{name}.safetensors").write_text(name, encoding="utf-8")


@pytest.mark.usefixtures("files")
def test_files_are_loaded_and_recorded(ea, fake):
    result = ea(*RUN, "--transformer", "transformer.safetensors", "--motion-module", "motion.safetensors")
    assert result.code == 0, result.err
    assert fake.loads[-1].transformer == Path("transformer.safetensors")
    assert fake.loads[-1].motion_module == Path("motion.safetensors")
    manifest = read_manifest(Path("x.mp4"))
    assert [item.role for item in manifest.inputs] == ["transformer", "motion-module"]
    result = ea("rerun", "x.mp4")
    assert "Identical" in result.err
    assert fake.loads[-1].motion_module == Path("motion.safetensors").resolve()
    Path("transformer.safetensors").write_text("another", encoding="utf-8")
    result = ea("rerun", "x.mp4")
    assert result.code == 2
    assert "has changed" in result.err


def test_what_lies_beside_the_weights_is_recorded(ea, fake):
    assert ea(*RUN).code == 0
    (found,) = read_manifest(Path("x.mp4")).files("motion-module")
    assert found.path == str(fake.find_files(fake.loads[-1]).motion_module.resolve())


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("option", ["--transformer", "--motion-module"])
def test_a_model_without_such_files_refuses_them(ea, fake, option):
    result = ea("run", "--model", "fake", "--prompt", "x", option, "motion.safetensors")
    assert result.code == 2
    assert "takes no weights beside its folder" in result.err
    assert not fake.loads


def test_far_from_the_training_there_is_a_warning(ea):
    result = ea(*RUN, "--frames", "24")
    assert result.code == 0
    assert "Warning: These weights were trained on clips of 12 to 20 frames; 24 may look worse." in result.err
    assert "pixels" not in result.err


def test_a_far_size_is_warned_of_once(ea):
    result = ea("run", "--model", "fake-part", "--prompt", "x", "--size", "16x16", "--num-videos", "2")
    assert result.code == 0
    assert result.err.count("about 64x64 pixels; 16x16 may look worse") == 1


def test_within_the_training_there_is_none(ea):
    assert "Warning" not in ea(*RUN).err


def test_a_long_video_needs_a_model_that_goes_on_from_images(ea, fake):
    result = ea("run", "--model", "fake-text", "--prompt", "x", "--segment", "8", "--overlap", "2")
    assert result.code == 2
    assert "cannot make a long video" in result.err
    assert not fake.loads
