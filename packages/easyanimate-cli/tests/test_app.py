from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from easyanimate_core.download import models_home
from easyanimate_core.machine import Device, Machine, count_processors
from easyanimate_core.manifest import read_manifest
from easyanimate_core.registry import Plugins
from easyanimate_core.video import read_video, write_video

FAKE = Path(__file__).parents[2] / "easyanimate-core" / "tests" / "fake"
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "rich",
    "pydantic",
    "huggingface_hub",
    "easyanimate_fake_command",
)


@pytest.mark.parametrize("args", [["--help"], ["models"], ["fakes", "--help"]])
def test_help_and_models_import_nothing_heavy(args):
    code = f"""
import sys
from easyanimate_cli.app import main
try:
    main({args!r})
except SystemExit as leaving:
    assert not leaving.code, leaving.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print("HEAVY", heavy)
"""
    environment = {**os.environ, "PYTHONPATH": str(FAKE)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)  # noqa: S603
    assert "HEAVY []" in done.stdout


def test_help_lists_every_command_and_those_of_plugins(ea):
    out = ea("--help").out
    for name in ("run", "models", "weights", "info", "rerun", "plugins", "doctor", "fakes"):
        assert f"\n  {name} " in out
    out = ea("fakes", "--help").out
    assert "Count up." in out
    assert "easyanimate_fake_command" not in sys.modules


def test_version(ea):
    assert ea("--version").out.startswith(f"ea {version('easyanimate-cli')} ")


def test_a_plugin_command_runs_and_has_help(ea):
    assert ea("fakes", "count", "--upto", 4).out == "1 2 3 4\n"
    assert "Where to stop." in ea("fakes", "count", "--help").out


def test_a_plugin_command_joins_a_group_of_the_program(ea):
    assert ea("weights", "count", "--upto", 2).out == "1 2\n"
    assert "Count weights." in ea("weights", "--help").out


@pytest.mark.parametrize(
    "command", ["run", "info", "rerun", "plugins", "doctor", "models show", "weights pull", "weights verify"]
)
def test_every_command_has_help(ea, command):
    result = ea(*command.split(), "--help")
    assert result.code == 0
    assert "Usage: ea" in result.out


def test_a_command_of_a_package_that_is_not_installed_names_the_package(ea, monkeypatch):
    monkeypatch.setattr("easyanimate_cli.app.load_plugins", lambda: Plugins([]))
    packages = {"data shapes": "data", "train vae": "vae", "train lora": "dit", "weights convert": "dit"}
    for command, package in packages.items():
        result = ea(*command.split())
        assert result.code == 2
        assert f"pip install easyanimate-{package}" in result.err


def test_a_plugin_cannot_take_a_built_in_command(ea, monkeypatch, fake):
    spec = dataclasses.replace(next(iter(fake.ea_commands())), group="models", name="list")
    monkeypatch.setattr(fake, "ea_commands", fake.hookimpl(lambda: [spec]))
    assert "Paints noise." in ea("models", "list").out


def test_models_list_and_show(ea):
    for args in (["models"], ["models", "list"]):
        out = ea(*args).out
        [line] = [line for line in out.splitlines() if line.startswith("fake ")]
        assert "Paints noise." in line
        assert "32x48, 16 frames" in line
        assert "demo, official (not here)" in line
    out = ea("models", "show", "fake").out
    for words in (
        "euler, ddim",
        "multiples of 16 up to 2048",
        "--size 32x48 --frames 16",
        "ea weights pull fake official",
    ):
        assert words in out


def test_models_show_follows_the_weights(ea, fake, monkeypatch):
    out = ea("models", "show", "fake-open").out
    for words in (
        "tasks     text-to-video, text-to-image\n",
        "1 (an image), or 1 + a multiple of 4, up to 33",
        "--size 32x32 --frames 9 --fps 12",
        "--steps 3 --guidance 7.0 --sampler heun",
        "samplers  heun, dpm\n",
    ):
        assert words in out
    gone = [dataclasses.replace(source, path=Path("gone")) for source in fake.ea_weights()]
    monkeypatch.setattr(fake, "ea_weights", fake.hookimpl(lambda: gone))
    out = ea("models", "show", "fake-open").out
    assert "--size 384x672 --frames 72" in out
    assert "image-to-video" in out


def test_models_show_tells_what_the_weights_found_here_default_to(ea, fake):
    folder = Path("models/Diffusion_Transformer/Fake")
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes((fake.FOLDER / "weights.safetensors").read_bytes())
    (folder / "easyanimate.json").write_text('{"defaults": {"num_frames": 24, "fps": 5}}', encoding="utf-8")
    out = ea("models", "show", "fake").out
    assert "defaults       --size 32x48 --frames 16 --fps 8" in out
    assert "with official  --size 32x48 --frames 24 --fps 5" in out
    assert "with" not in ea("models", "show", "fake-text").out


def test_plugins_lists_what_is_broken_and_why(ea):
    out = ea("plugins").out
    assert "easyanimate-fake" in out
    assert "model fake" in out
    assert "Broken: easyanimate-broken 0.3 (easyanimate_broken): cannot be imported: ModuleNotFoundError" in out


def make_machine(torch=None, devices=()):
    return Machine(
        system="Linux", python="3.11", num_cpus=2, memory_bytes=8, free_memory_bytes=4, torch=torch, devices=devices
    )


def make_device(name, *dtypes):
    return Device(name=name, model="card", memory_bytes=16_000_000_000, free_bytes=9_000_000_000, dtypes=dtypes)


def test_doctor_tells_what_can_run_and_what_is_missing(ea, monkeypatch):
    monkeypatch.setattr("easyanimate_cli.doctor.read_machine", make_machine)
    result = ea("doctor")
    assert result.code == 0
    for words in (
        "fake       runs with the weights demo",
        "fake-text  runs; needs no weights",
        "easyanimate-broken is broken",
        "ea weights pull fake official",
        "PyTorch is not installed",
    ):
        assert words in result.out


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ((make_device("cuda:0", "bfloat16", "float32"),), "9.0 GB free of 16.0 GB, runs in bfloat16 (also float32)"),
        ((make_device("cpu", "float32"),), "PyTorch sees no GPU"),
        ((), "PyTorch cannot be used (broken: x)"),
    ],
)
def test_doctor_tells_about_devices(ea, monkeypatch, devices, words):
    monkeypatch.setattr("easyanimate_cli.doctor.read_machine", lambda: make_machine("broken: x", devices))
    assert words in ea("doctor").out


def test_info_for_people_and_as_json(ea):
    ea("run", "--model", "fake", "--prompt", "a red circle", "--seed", 3, "-o", "x.mp4")
    out = ea("info", "x.mp4").out
    for words in ("a red circle", "demo", "euler", "ea rerun x.mp4"):
        assert words in out
    content = json.loads(ea("info", "x.mp4", "--json").out)
    assert content["request"]["seed"] == 3


def test_what_commands_import_computes_with_threads_that_sleep(ea, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")  # so that it is as before after the test
        monkeypatch.delenv(name)
    assert ea("plugins").code == 0
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


class TestRerun:
    @pytest.fixture
    def first(self, ea, media):  # noqa: ARG002 (files to start from)
        ea("run", "--model", "fake", "--prompt", "red", "--image", "image.png", "--seed", 3, "-o", "x.mp4")

    @pytest.mark.usefixtures("first")
    def test_gives_the_same_frames(self, ea, fake):
        result = ea("rerun", "x.mp4")
        assert result.out == "x-rerun.mp4\n"
        assert "Identical" in result.err
        one, two = fake.requests
        assert (one.seed, one.prompt, one.start_images[0].shape) == (two.seed, two.prompt, two.start_images[0].shape)
        assert ea("rerun", "x-rerun.mp4", "-o", "y.mp4").out == "y.mp4\n"

    @pytest.mark.usefixtures("first")
    @pytest.mark.parametrize(("threads", "used"), [(1, 1), (100, count_processors())])
    def test_computes_with_as_many_threads(self, ea, monkeypatch, threads, used):
        counts: list[int] = []
        first = read_manifest(Path("x.mp4"))
        monkeypatch.setattr("easyanimate_cli.rerun.set_threads", counts.append)
        monkeypatch.setattr(
            "easyanimate_cli.rerun.read_manifest", lambda _: dataclasses.replace(first, threads=threads)
        )
        result = ea("rerun", "x.mp4")
        assert counts == [used]
        assert ("The first run computed with 100 threads" in result.err) == (threads == 100)

    def test_repeats_images(self, ea):
        ea("run", "--model", "fake", "--prompt", "red", "--frames", 1, "-o", "x.png")
        result = ea("rerun", "x.png")
        assert result.out == "x-rerun.png\n"
        assert "Identical" in result.err

    @pytest.mark.usefixtures("first")
    def test_says_when_the_result_differs(self, ea, fake, monkeypatch):
        original = fake.make_video
        monkeypatch.setattr(fake, "make_video", lambda request: type(v := original(request))(255 - v.frames, v.fps))
        result = ea("rerun", "x.mp4")
        assert "differ" in result.err
        assert result.code == 1

    @pytest.mark.usefixtures("first")
    def test_repeats_files_from_before_there_was_guidance_rescale(self, ea, fake):
        content = read_manifest(Path("x.mp4")).to_json()
        del content["request"]["guidance_rescale"]
        write_video(Path("old.mp4"), read_video(Path("x.mp4")), manifest=content)
        assert ea("rerun", "old.mp4").out == "old-rerun.mp4\n"
        assert fake.requests[-1].guidance_rescale == 0
        assert read_video(Path("old-rerun.mp4")).frames.tobytes() == read_video(Path("x.mp4")).frames.tobytes()

    @pytest.mark.usefixtures("first")
    def test_repeats_files_from_before_pictures_were_cropped(self, ea, fake):
        content = read_manifest(Path("x.mp4")).to_json()
        assert (content["request"].pop("fit"), content["request"].pop("keep_pixels")) == ("crop", True)
        write_video(Path("old.mp4"), read_video(Path("x.mp4")), manifest=content)
        assert ea("rerun", "old.mp4").out == "old-rerun.mp4\n"
        assert (fake.requests[-1].fit, fake.requests[-1].keep_pixels) == ("stretch", False)
        assert read_manifest(Path("old-rerun.mp4")).request["fit"] == "stretch"

    @pytest.mark.usefixtures("first")
    def test_refuses_changed_inputs(self, ea):
        Path("image.png").write_bytes(b"other")
        result = ea("rerun", "x.mp4")
        assert result.code == 2
        assert "image.png" in result.err
        Path("image.png").unlink()
        assert "is gone" in ea("rerun", "x.mp4").err

    def test_refuses_changed_weights(self, ea, fake, tmp_path):
        folder = tmp_path / "weights"
        folder.mkdir()
        content = (fake.FOLDER / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(content)
        ea("run", "--model", "fake", "--prompt", "red", "--weights", folder, "-o", "x.mp4")
        (folder / "weights.safetensors").write_bytes(content[:-1] + b"!")
        result = ea("rerun", "x.mp4")
        assert result.code == 2
        assert "weights.safetensors differ" in result.err
        assert not Path("x-rerun.mp4").exists()


class TestWeights:
    def test_list(self, ea):
        lines = ea("weights").out.splitlines()
        assert any("demo" in line and "MIT" in line and "in " in line for line in lines)
        assert any("14.0 GB" in line and "ea weights pull fake official" in line for line in lines)

    def test_list_shows_damage(self, ea):
        folder = Path("models/Diffusion_Transformer/Fake")
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        assert "damaged: A file is missing." in ea("weights", "list").out

    def test_pull_from_an_archive(self, ea, fake):
        with tarfile.open("fake.tar.gz", "w:gz") as tar:
            tar.add(fake.FOLDER, "EasyAnimateFake")
        result = ea("weights", "pull", "fake", "--from", "fake.tar.gz")
        assert result.code == 0, result.err
        for words in ("Apache-2.0", "14.0 GB", "ea run --model fake --weights official"):
            assert words in result.err
        folder = models_home() / "Diffusion_Transformer" / "Fake"
        assert result.out == f"{folder}\n"
        assert ea("run", "--model", "fake", "--prompt", "x").code == 0
        assert fake.loads[0].weights.path == folder
        assert str(models_home()) in ea("weights").err

    def test_an_unsafe_archive_is_refused(self, ea):
        Path("evil").write_text("x", encoding="utf-8")
        with tarfile.open("evil.tar", "w") as tar:
            tar.add("evil", "../../escaped")
        result = ea("weights", "pull", "fake", "--from", "evil.tar")
        assert result.code == 2
        assert "unsafe" in result.err
        assert not models_home().exists()

    def test_an_archive_of_something_else_is_refused(self, ea):
        Path("model_index.json").write_text("{", encoding="utf-8")
        Path("model.safetensors").write_text("x", encoding="utf-8")
        with tarfile.open("else.tar", "w") as tar:
            for name in ("model_index.json", "model.safetensors"):
                tar.add(name, f"Else/{name}")
        assert ea("weights", "pull", "fake", "--from", "else.tar").code == 2
        assert not models_home().exists()

    def test_pull_of_weights_that_are_shipped(self, ea, fake):
        result = ea("weights", "pull", "fake", "demo")
        assert result.code == 0
        assert result.out == f"{fake.FOLDER}\n"

    def test_pull_without_a_connection(self, ea, monkeypatch):
        def fail(*_, **__):
            raise OSError("no route to host")

        monkeypatch.setattr("easyanimate_core.download._download", fail)
        result = ea("weights", "pull", "fake")
        assert result.code == 2
        assert "no route to host" in result.err
        assert "ea weights pull fake official" in result.err

    def test_verify(self, ea):
        result = ea("weights", "verify", "fake", "demo")
        assert result.code == 0
        assert "weights.safetensors" in result.out
        assert "are whole" in result.out
