"""Files beside the weights, and warnings of what the weights were not trained for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.manifest import read_manifest
from safetensors.numpy import save_file

RUN = ("run", "--model", "fake-part", "--prompt", "a circle", "--size", "48x64", "-o", "x.mp4")


@pytest.fixture
def files():
    """A transformer, a motion module and a LoRA."""
    write("transformer.safetensors", "blocks.0.weight")
    write("motion.safetensors", "motion_modules.0.weight")
    write("lora.safetensors", "lora_unet__blocks_0.lora_down.weight")


def write(path, name, value=0.0):
    save_file({name: np.full(3, value, np.float32)}, path)


@pytest.mark.usefixtures("files")
def test_files_are_loaded_and_recorded(ea, fake):
    result = ea(*RUN, "--transformer", "transformer.safetensors", "--motion-module", "motion.safetensors")
    assert result.code == 0, result.err
    assert fake.loads[-1].parts == {
        "transformer": Path("transformer.safetensors"),
        "motion_module": Path("motion.safetensors"),
    }
    manifest = read_manifest(Path("x.mp4"))
    assert {item.role for item in manifest.inputs} == {"transformer", "motion-module"}
    result = ea("rerun", "x.mp4")
    assert "Identical" in result.err
    assert fake.loads[-1].parts["motion_module"] == Path("motion.safetensors").resolve()
    write("transformer.safetensors", "blocks.0.weight", 1.0)
    result = ea("rerun", "x.mp4")
    assert result.code == 2
    assert "has changed" in result.err


def test_what_lies_beside_the_weights_is_recorded(ea, fake):
    assert ea(*RUN).code == 0
    (found,) = read_manifest(Path("x.mp4")).files("motion-module")
    assert found.path == str(fake.BESIDE.resolve())
    assert fake.loads[-1].parts == {"motion_module": fake.BESIDE}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("option", ["--transformer", "--motion-module"])
def test_a_model_without_such_files_refuses_them(ea, fake, option):
    result = ea("run", "--model", "fake", "--prompt", "x", option, "motion.safetensors")
    assert result.code == 2
    assert "The model fake takes no file for" in result.err
    assert f"leave out {option}" in result.err
    assert not fake.loads


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("option", "file", "words"),
    [
        ("--transformer", "motion", ("motion module of fake-part", "ea run --model fake-part --motion-module motion.")),
        ("--motion-module", "transformer", ("not the motion module of fake-part", "--transformer transformer.")),
        ("--transformer", "lora", ("This is a LoRA file", "--lora lora.safetensors")),
        ("--lora", "transformer", ("This is not a LoRA file", "--transformer transformer.safetensors")),
        ("--transformer", "gone", ("There is no weights file gone.safetensors",)),
    ],
)
def test_a_file_in_the_wrong_place_is_named(ea, fake, option, file, words):
    result = ea(*RUN, option, f"{file}.safetensors")
    assert result.code == 2
    for word in words:
        assert word in result.err, result.err
    assert not fake.loads


def test_far_from_the_training_there_is_a_warning(ea):
    result = ea(*RUN, "--frames", "24")
    assert result.code == 0
    assert "These weights were trained on clips of 12 to 20 frames; 24 may look worse." in result.err
    assert "pixels" not in result.err


def test_a_far_size_is_warned_of_once(ea):
    result = ea("run", "--model", "fake-part", "--prompt", "x", "--size", "16x16", "--num-videos", "2")
    assert result.code == 0
    assert result.err.count("about 64x64 pixels; 16x16 may look worse") == 1


def test_within_the_training_there_is_none(ea):
    assert "may look worse" not in ea(*RUN).err


def test_lines_of_a_batch_share_a_warning(ea):
    Path("prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n', encoding="utf-8")
    result = ea("run", "--model", "fake-part", "--batch", "prompts.jsonl", "--size", "16x16")
    assert result.code == 0
    assert result.err.count("16x16 may look worse") == 1


def test_a_long_video_needs_a_model_that_goes_on_from_images(ea, fake):
    result = ea("run", "--model", "fake-text", "--prompt", "x", "--segment", "8", "--overlap", "2")
    assert result.code == 2
    assert "cannot make a long video" in result.err
    assert not fake.loads
