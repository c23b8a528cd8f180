"""Everything that a user can get wrong: one screen on standard error, exit code 2, nothing loaded, nothing written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from easyanimate_core import machine

FAKE = Path(__file__).parents[2] / "easyanimate-core" / "tests" / "fake"
RUN = ("run", "--model", "fake", "--prompt", "x")


def check(result, fake, *words):
    assert result.code == 2, result
    assert result.out == ""
    for word in words:
        assert word in result.err, result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 20
    assert not fake.loads
    assert not list(Path().rglob("*.mp4")) + list(Path().rglob("*.part*"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ("run", "--model", "fak", "--prompt", "x"),
            ("There is no model fak", "did you mean fake", "easyanimate-broken"),
        ),
        (("run", "--model", "v9", "--prompt", "x"), ("There is no model v9",)),
        (("run", "a", "red", "circle", "-m", "fake"), ("in quotes", 'ea run "a red circle"')),
        (("run", "a circle", *RUN[1:]), ("two prompts", "a circle", "--prompt 'x'")),
        (("run", "a circle", "-m", "v44"), ("no model v44", "did you mean v4")),
        ((*RUN, "--seconds", 3, "--frames", 16), ("length was given twice", "--frames or --seconds")),
        ((*RUN, "--seconds", 0), ("seconds is out of range",)),
        ((*RUN, "--seconds", "nan"), ("seconds is out of range",)),
        ((*RUN, "--seconds", 60), ("too long for this model", "480 frames", "--seconds 18", "--segment 144")),
        ((*RUN, "--seconds", 1, "--video", "gone.mp4"), ("gone.mp4",)),
        ((*RUN, "--num-videos", 10**9), ("num_videos is out of range", "1 to 10000")),
        ((*RUN, "--steps", 10**8), ("out of range", "1 to 1000")),
        ((*RUN, "--guidance", 1e9), ("out of range", "0 to 100")),
        ((*RUN, "--fps", 1e300), ("out of range", "0.1 to 1000")),
        (("run", "--model", "fake"), ("no prompt",)),
        (("run", "--model", "fake", "--prompt", "  "), ("prompt is empty",)),
        ((*RUN, "--sampler", "eulr"), ("eulr", "euler, ddim", "did you mean euler?")),
        ((*RUN, "--size", "30x48"), ("height 30", "use 16 or 32")),
        ((*RUN, "--size", "32x50"), ("width 50", "use 48 or 64")),
        ((*RUN, "--size", "big"), ("HEIGHTxWIDTH",)),
        ((*RUN, "--frames", 17), ("17 frames", "use 16 or 24")),
        ((*RUN, "--frames", 160), ("160 frames", "use 144")),
        ((*RUN, "--frames", 0), ("num_frames is out of range",)),
        ((*RUN, "--frames", "many"), ("--frames must be a whole number", "'many'")),
        ((*RUN, "--frames", "16.5"), ("--frames must be a whole number", "'16.5'")),
        ((*RUN, "--seed", "1:30"), ("--seed must be a whole number", "'1:30'")),
        ((*RUN, "--fps", "abc"), ("--fps must be a number", "'abc'")),
        ((*RUN, "--fps", "nan"), ("fps is out of range",)),
        ((*RUN, "--num-videos", "two"), ("--num-videos must be a whole number",)),
        ((*RUN, "--guidance", "strong"), ("--guidance must be a number", "'strong'")),
        ((*RUN, "--guidance-rescale", 2), ("guidance_rescale is out of range", "0 to 1")),
        ((*RUN, "--size", "3"), ("height x width in pixels", "HEIGHTxWIDTH", "--size 384x672")),
        ((*RUN, "--num-videos", 0), ("num_videos is out of range",)),
        ((*RUN, "--steps", 0), ("num_inference_steps is out of range",)),
        ((*RUN, "--seed", -2), ("seed is out of range", "received: -2", "0 to 9223372036854775807")),
        ((*RUN, "--weights", "demmo"), ("There are no weights demmo", "demo")),
        ((*RUN, "--weights", "official"), ("not on this machine", "ea weights pull fake official")),
        ((*RUN, "--weights", "nobody/other"), ("not on this machine",)),
        ((*RUN, "--weights", "."), ("weights",)),
        ((*RUN, "--image", "gone.png"), ("no such file", "gone.png")),
        ((*RUN, "--image", "text.png"), ("cannot be read", "text.png")),
        ((*RUN, "--video", "text.png"), ("cannot be read", "text.png")),
        ((*RUN, "--video", "empty.mp4"), ("empty.mp4",)),
        ((*RUN, "--video", "video.mp4", "--mask", "gone.png"), ("gone.png",)),
        ((*RUN, "--video", "video.mp4", "--frames", 24), ("video.mp4: 20 frames for 24", "--frames 16")),
        ((*RUN, "--end-image", "image.png"), ("needs a start image", "--image")),
        ((*RUN, "--mask", "mask.png"), ("needs a video",)),
        ((*RUN, "--strength", 0.5), ("--video",)),
        ((*RUN, "--video", "video.mp4", "--image", "image.png"), ("not from both",)),
        ((*RUN, "--video", "video.mp4", "--strength", 1.5), ("above 0 and at most 1",)),
        ((*RUN, "--overlap", 4), ("--segment and --overlap",)),
        ((*RUN, "--segment", 16, "--overlap", 16), ("overlap",)),
        ((*RUN, "--segment", 15, "--overlap", 4), ("15 frames", "use 8 or 16")),
        ((*RUN, "--lora", "gone.safetensors:0.5"), ("no such LoRA file", "gone.safetensors")),
        ((*RUN, "--lora", "text.png:nan"), ("weight of a LoRA is a number", "text.png:nan")),
        ((*RUN, "--dtype", "float8"), ("float8", "bfloat16")),
        ((*RUN, "-o", "x.mov"), ("ends in .mp4 or .gif or .webp", "a folder ends in a slash")),
        ((*RUN, "-o", "v1.5"), ("a folder ends in a slash",)),
        ((*RUN, "-o", "x.gif", "--fps", 60), ("cannot be that fast", "at most 50", "--fps 50")),
        ((*RUN, "-o", "x" * 300), ("name is too long", "300 bytes")),
        ((*RUN, "-o", "x" * 252), ("name is too long", "256 bytes")),
        ((*RUN, "-o", "a\0b.mp4"), ("without NUL",)),
        ((*RUN, "-o", "text.png/"), ("text.png",)),
        ((*RUN, "-o", " "), ("output has no name",)),
        ((*RUN, "--num-videos", 2, "-o", "text.png/new"), ("text.png",)),
        ((*RUN, "--frames", 1, "-o", "x.mp4"), ("ends in .png", "one frame is an image")),
        ((*RUN, "-o", "text.png/x.mp4"), ("text.png",)),
        ((*RUN, "--batch", "gone.jsonl"), ("gone.jsonl",)),
        ((*RUN, "--promt", "x"), ("--promt", "--prompt")),
        (("run", "--model", "fake-text", "--prompt", "x", "--image", "image.png"), ("image-to-video", "text-to-video")),
        (("rum",), ("rum", "run")),
        (("rnu",), ("rnu", "run")),
        (("modles",), ("modles", "models")),
        (("models", "shw"), ("shw", "show")),
        (("models", "show", "fak"), ("did you mean fake",)),
        (("info", "video.mp4"), ("no manifest", "video.mp4")),
        (("info", "gone.mp4"), ("gone.mp4",)),
        (("rerun", "video.mp4"), ("no manifest",)),
        (("weights", "pull", "fake", "demmo"), ("demmo", "did you mean demo")),
        (("weights", "pull", "fake", "--from", "gone.tar"), ("gone.tar",)),
        (("weights", "verify", "fake", "official"), ("not on this machine",)),
        (("fakes", "gone"), ("a_library_that_nobody_has",)),
        (("fakes", "cunt"), ("count",)),
    ],
)
@pytest.mark.usefixtures("media")
def test_mistakes(ea, fake, args, words):
    Path("video.mp4").rename("video.kept")
    Path("empty.mp4").touch()
    shutil.copy("video.kept", "video.mp4")
    result = ea(*args)
    for name in ("video.mp4", "empty.mp4"):
        Path(name).unlink()
    check(result, fake, *words)


def test_weights_of_another_model_are_refused_by_its_name(ea, fake):
    result = ea(*RUN, "--weights", fake.OPEN_FOLDER)
    check(result, fake, "weights of another model", "received: weights of fake-open", "ea run --model fake-open")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--sampler", "euler"), ("euler", "heun, dpm")),
        (("--frames", 8), ("8 frames", "1 + a multiple of 4", "use 5 or 9")),
        (("--image", "image.png"), ("cannot do that", "text-to-video, text-to-image")),
    ],
)
@pytest.mark.usefixtures("media")
def test_what_the_weights_cannot_do(ea, fake, args, words):
    Path("video.mp4").unlink()
    check(ea("run", "--model", "fake-open", "--prompt", "x", *args), fake, *words)


def test_damaged_weights_name_the_file_and_the_way_out(ea, fake):
    folder = Path("models/Diffusion_Transformer/Fake")
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    check(ea(*RUN, "--weights", "official"), fake, "weights.safetensors", "ea weights pull fake official")


def test_a_folder_that_cannot_be_written(ea, fake, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    check(ea(*RUN, "-o", "sub/x.mp4"), fake, "sub", "Permission denied", "--output")
    assert not Path("sub").exists()


def test_a_full_disk(ea, fake, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    check(ea(*RUN), fake, "not enough space", "1.0 MB free")


def test_weights_larger_than_the_memory_are_refused_before_loading(ea, fake, monkeypatch):
    nothing = machine.Device(name="cpu", model="x", memory_bytes=16, free_bytes=15, dtypes=("float32", "bfloat16"))
    facts = machine.Machine(
        system="", python="", num_cpus=1, memory_bytes=16, free_memory_bytes=15, torch="2", devices=(nothing,)
    )
    monkeypatch.setattr("easyanimate_core.memory.free_memory", lambda: 15)
    monkeypatch.setattr("easyanimate_core.memory.read_machine", lambda: facts)
    # A clip of these bytes would be refused before: that is tested apart.
    monkeypatch.setattr("easyanimate_core.model.check_clip_memory", lambda *_, **__: None)
    check(ea(*RUN), fake, "16 bytes of weights as float32", "15 bytes that are free", "--dtype bfloat16")


def test_out_of_memory_says_what_would_fit(ea):
    result = ea("run", "--model", "fake", "--prompt", "memory", "--dtype", "float32")
    assert result.code == 2
    assert "--frames 8 or --size 16x32 or --dtype bfloat16" in result.err
    assert "Traceback" not in result.err
    assert not Path("outputs").exists()


def test_a_bug_is_one_line_with_a_traceback_on_demand(ea):
    result = ea("run", "--model", "fake", "--prompt", "bug")
    assert result.code == 1
    assert "Bug: KeyError: 'a bug of the model'" in result.err
    assert "Traceback" not in result.err
    result = ea("--debug", "run", "--model", "fake", "--prompt", "bug")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "make_video" in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for single processes")
def test_ctrl_c_stops_cleanly():
    environment = {**os.environ, "PYTHONPATH": str(FAKE)}
    # Where the tests run in the background, they and their children ignore Ctrl-C unless told otherwise.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{listen}; from easyanimate_cli.app import main; main()"]
    args = ["run", "--model", "fake", "--prompt", "slow", "--steps", "1000"]
    with subprocess.Popen([*command, *args], stdout=-1, stderr=-1, text=True, env=environment) as process:  # noqa: S603
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("load 1/1") for line in lines)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)  # it would take 200 s
    assert process.returncode == 130
    assert out == ""
    assert "Stopped." in err
    assert "Traceback" not in err
    assert not list(Path().rglob("*"))


@pytest.mark.parametrize("named", ["x.bin", None])
def test_what_the_system_refuses_is_no_bug(ea, fake, monkeypatch, named):
    def refuse(_):
        raise OSError(5, "Input/output error", named)

    monkeypatch.setattr(fake, "make_video", refuse)
    result = ea("run", "--model", "fake", "--prompt", "x")
    assert result.code == 2
    received = "\n  received: x.bin" if named else ""
    assert result.err.endswith(f"A file cannot be read or written: Input/output error.{received}\n")


@pytest.mark.parametrize("name", ["é" * 300, "x" * 100_000])
def test_names_that_are_too_long_to_be_looked_for(ea, name):
    for option in ("--lora", "--image", "--video", "--batch", "--weights"):
        result = ea("run", "--model", "fake", "--prompt", "x", option, name)
        assert result.code == 2
        assert len(result.err) < 10_000
