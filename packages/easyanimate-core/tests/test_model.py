"""The short entrance, with models that need no PyTorch."""

import logging
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from easyanimate_core import EasyAnimateError, LoraFile, PluginError, Progress, RequestError, Task, WeightsError
from easyanimate_core import weights_folder as weights_folder_module
from easyanimate_core.machine import Device
from easyanimate_core.manifest import Manifest, read_manifest
from easyanimate_core.model import PhaseClock, open_model
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import read_image, read_video
from safetensors.numpy import save_file


@pytest.fixture
def plugins(fake):
    """The fake plugin alone."""
    return load_plugins([EntryPoint("fake", fake.__name__, "easyanimate")])


@pytest.fixture
def model(plugins):
    return open_model("fake", plugins=plugins)


def test_what_is_installed_is_found(fake):
    model = open_model("fake")
    assert model.spec.key == "fake"
    assert model.make("a circle").frames.shape == (16, 32, 48, 3)
    assert len(fake.loads) == 1


def test_nothing_is_loaded_before_the_first_clip(model, fake):
    model.plan("a circle")
    assert not fake.loads
    model.make("a circle")
    model.make("another", seed=1)
    assert len(fake.loads) == 1


def test_load_tells_of_itself_once(model, fake):
    told = []
    for _ in range(2):
        model.load(told.append)
    assert told == [Progress("load", 0, 1), Progress("load", 1, 1)]
    assert len(fake.loads) == 1


def test_imports_are_a_phase_of_their_own(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    told = []
    replace(model, spec=replace(model.spec, imports=("wave",))).load(told.append)
    assert [(item.phase, item.step) for item in told] == [("import", 0), ("import", 1), ("load", 0), ("load", 1)]
    assert "wave" in sys.modules


def test_settings_reach_the_pipeline(model, fake):
    told = []
    clip = model.make(
        "a circle",
        negative_prompt="blur",
        num_frames=8,
        height=48,
        width=64,
        fps=12,
        num_inference_steps=2,
        guidance_scale=3.5,
        guidance_rescale=0.7,
        sampler="ddim",
        seed=7,
        on_progress=told.append,
    )
    [request] = fake.requests
    assert clip.frames.shape == (8, 48, 64, 3)
    assert (request.negative_prompt, request.fps, request.sampler, request.seed) == ("blur", 12, "ddim", 7)
    assert (request.guidance_scale, request.guidance_rescale) == (3.5, 0.7)
    assert [(item.phase, item.step) for item in told] == [("load", 0), ("load", 1), ("denoise", 1), ("denoise", 2)]
    manifest = read_manifest(clip.save("x.mp4"))
    assert manifest == clip.manifest
    assert manifest.request["guidance_rescale"] == 0.7
    assert set(manifest.timings) == {"load", "denoise"}


def test_how_to_load_reaches_the_model(plugins, fake, tmp_path):
    for name in ("transformer", "style"):
        save_file({f"{name}.lora_down" if name == "style" else name: np.zeros(2, np.float32)}, f"{name}.safetensors")
    model = open_model(
        "fake-part",
        device="cpu",
        dtype="float16",
        loras=["style.safetensors:0.5", LoraFile(Path("style.safetensors"))],
        transformer="transformer.safetensors",
        motion_module=None,
        plugins=plugins,
    )
    manifest = model.make("x").manifest
    [options] = fake.loads
    assert (options.device, options.dtype, options.weights) == ("cpu", "float16", None)
    assert [lora.weight for lora in options.loras] == [0.5, 1.0]
    assert options.parts == {"transformer": Path("transformer.safetensors"), "motion_module": fake.BESIDE}
    assert {item.role for item in manifest.inputs} == {"transformer", "motion-module", "lora"}
    assert [item.weight for item in manifest.files("lora")] == [0.5, 1.0]
    assert (manifest.device, manifest.dtype, manifest.weights.folder) == ("cpu", "float16", None)
    with pytest.raises(WeightsError, match="no weights file"):
        open_model("fake-part", transformer=tmp_path, plugins=plugins)


@pytest.mark.parametrize(("device", "threads"), [("cpu", 3), ("cuda", None)])
def test_the_manifest_tells_the_threads_of_the_processor(plugins, monkeypatch, device, threads):
    torch = ModuleType("torch")
    torch.get_num_threads = lambda: 3
    monkeypatch.setitem(sys.modules, "torch", torch)
    manifest = open_model("fake-part", device=device, dtype="float32", plugins=plugins).make("x").manifest
    assert manifest.threads == threads
    assert Manifest.from_json(manifest.to_json()).threads == threads


def test_what_cannot_be_opened(plugins):
    with pytest.raises(PluginError, match="did you mean fake"):
        open_model("fak", plugins=plugins)
    with pytest.raises(WeightsError, match="no weights demmo"):
        open_model("fake", weights="demmo", plugins=plugins)
    with pytest.raises(RequestError, match="fake takes no file for transformer"):
        open_model("fake", transformer="x.safetensors", plugins=plugins)
    for loras in (["gone.safetensors"], "gone.safetensors"):
        with pytest.raises(RequestError, match=r"no such LoRA file[\s\S]*gone\.safetensors"):
            open_model("fake", loras=loras, plugins=plugins)


def test_what_cannot_be_made(model, fake):
    with pytest.raises(RequestError, match="did you mean num_frames"):
        model.make("x", num_frame=8)
    with pytest.raises(RequestError, match="did you mean euler"):
        model.make("x", sampler="eulr")
    with pytest.raises(RequestError, match="use 16 or 24"):
        model.plan("x", num_frames=17)
    assert not fake.loads
    with pytest.raises(EasyAnimateError, match="--frames 8 or --size 16x32"):
        model.make("memory")


def test_a_model_says_what_it_is(model):
    assert repr(model) == "<Model fake, weights demo>"


def test_a_plan_takes_no_further_settings(model):
    with pytest.raises(RequestError, match="takes no further settings"):
        model.make(model.plan("x"), seed=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": 3}, "prompt is of another type"),
        ({"num_frames": "9"}, "num_frames is of another type"),
        ({"num_frames": 8.5}, "num_frames is of another type"),
        ({"seed": True}, "seed is of another type"),
        ({"guidance_scale": "high"}, "guidance_scale is of another type"),
        ({"start_images": object()}, "An image is an array of pixels"),
        ({"start_images": 5}, "An image is an array of pixels"),
        ({"video": np.zeros((8, 16, 16, 3), np.uint8)}, "This is not a video"),
        ({"video": "clip.mp4", "mask": "gone.png", "num_frames": "9"}, "num_frames is of another type"),
    ],
)
def test_settings_of_another_type_are_refused(model, settings, message):
    with pytest.raises(RequestError, match=message):
        model.plan(**{"prompt": "x", **settings})


def test_a_model_with_another_pipeline_warns_no_second_time(plugins, caplog):
    model = open_model("fake-part", plugins=plugins)
    for opened in (model, model.using(model.pipeline)):
        opened.plan("x", height=64, width=64, num_frames=24)
    assert len(caplog.records) == 1


def test_notes_and_warnings_are_logged_once(plugins, caplog):
    open_model("fake", plugins=plugins)
    assert "demo weights of fake" in caplog.text
    assert "ea weights pull fake official" in caplog.text
    caplog.clear()
    model = open_model("fake-part", plugins=plugins)
    assert not caplog.records
    model.plan("x", height=64, width=64, num_frames=24)
    for _ in range(2):
        model.check(model.plan("x", height=64, width=64, num_frames=24).request)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("easyanimate", logging.WARNING)
    assert record.getMessage().startswith("These weights were trained on clips of 12 to 20 frames; 24")


def test_a_long_video_is_warned_of_by_its_segments(plugins, caplog):
    opened = open_model("fake-part", plugins=plugins)
    model = replace(opened, spec=replace(opened.spec, tasks=tuple(Task)))
    for segment in (16, 8):
        model.plan("x", height=64, width=64, num_frames=48, segment_frames=segment, overlap_frames=4)
    [record] = caplog.records
    assert "12 to 20 frames; 8 may" in record.getMessage()


def test_defaults_come_from_the_folder_then_the_source_then_the_model(plugins, fake, tmp_path):
    assert open_model("fake", plugins=plugins).defaults == fake.DEFAULTS
    (tmp_path / "weights.safetensors").write_bytes((fake.FOLDER / "weights.safetensors").read_bytes())
    (tmp_path / "easyanimate.json").write_text('{"defaults": {"num_frames": 24}, "trained": {"max_frames": 16}}')
    model = open_model("fake", weights=tmp_path, plugins=plugins)
    assert (model.defaults.num_frames, model.defaults.height) == (24, 32)
    assert model.trained.max_frames == 16
    assert model.make("x").frames.shape == (24, 32, 48, 3)


def test_a_model_that_its_weights_complete(plugins):
    model = open_model("fake-open", plugins=plugins)
    assert model.spec.tasks == ("text-to-video", "text-to-image")
    assert model.samplers == ("heun", "dpm")
    assert model.make("x").frames.shape == (9, 32, 32, 3)
    with pytest.raises(RequestError, match="use 5 or 9"):
        model.plan("x", num_frames=8)
    with pytest.raises(RequestError, match="heun, dpm"):
        model.plan("x", sampler="euler")


def test_pictures_may_be_arrays(model, media):  # noqa: ARG001 (files to start from)
    image = read_image(Path("image.png"))
    clip = model.make("x", start_images=[image])
    np.testing.assert_array_equal(clip.frames[0], image)
    [record] = read_manifest(clip.save("x.mp4")).inputs
    assert (record.role, record.path) == ("image", "")
    np.testing.assert_array_equal(model.make("x", start_images="image.png").frames, clip.frames)


def test_a_clip_that_cannot_fit_is_refused_before_anything_is_loaded(model, fake):
    large = {"height": 2048, "width": 2048, "num_frames": 100_000, "segment_frames": 144}
    with pytest.raises(EasyAnimateError, match=r"too little memory for this clip(?s:.*)at least 2.5 TB"):
        model.plan("x", **large)
    assert not fake.loads


def test_a_plan_is_made_as_it_stands(model, fake):
    plan = model.plan("x", seed=5)
    assert model.make(plan).request is plan.request
    assert fake.requests[0].seed == 5


def test_one_frame_is_a_png(model):
    path = model.make("x", num_frames=1).save("x.png")
    assert read_manifest(path).model == "fake"


def test_the_weights_folder_is_read_once(plugins, monkeypatch, tmp_path, fake):
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    for name in ("weights.safetensors", "model/config.json"):
        (folder / name).write_bytes((fake.OPEN_FOLDER / name).read_bytes())
    (folder / "easyanimate.json").write_text('{"defaults": {"fps": 6}, "trained": {"max_frames": 8}}')
    opened = Counter()
    for name in ("read_header", "read_json"):
        read = getattr(weights_folder_module, name)
        monkeypatch.setattr(
            weights_folder_module, name, lambda path, read=read: opened.update([path.name]) or read(path)
        )
    hashed = []
    hash_weights = weights_folder_module.hash_weights
    monkeypatch.setattr(weights_folder_module, "hash_weights", lambda path: hashed.append(path) or hash_weights(path))
    model = open_model("fake-open", weights=folder, plugins=plugins)
    for seed in range(2):
        manifest = model.make("x", seed=seed).manifest
    assert manifest.request["fps"] == 6
    assert set(manifest.weights.hashes) == {"weights.safetensors", "model/config.json", "easyanimate.json"}
    assert opened == Counter({"weights.safetensors": 1, "config.json": 1, "easyanimate.json": 1})
    assert hashed == [folder]


class TestWhereItRuns:
    """What the manifest says of device and number format."""

    @pytest.fixture
    def place(self, plugins, monkeypatch):
        def find(pipeline=print, **options):
            model = open_model("fake-text", plugins=plugins, **options)
            monkeypatch.setitem(model.__dict__, "pipeline", pipeline)
            return model._find_device_and_dtype()

        return find

    def test_the_pipeline_knows_best(self, place):
        pipeline = SimpleNamespace(device="cuda:1", dtype="torch.bfloat16")
        assert place(pipeline, device="cpu", dtype="float32") == ("cuda:1", "bfloat16")

    def test_without_torch_it_is_the_processor(self, place, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        assert place() == ("cpu", "float32")
        assert place(device="mps", dtype="float16") == ("mps", "float16")

    def test_with_torch_it_is_the_best_device_that_fits(self, place, monkeypatch):
        names = {"cuda:0": ("bfloat16", "float32"), "cpu": ("float32",)}
        devices = [Device(name=n, model="", memory_bytes=1, free_bytes=1, dtypes=kinds) for n, kinds in names.items()]
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
        monkeypatch.setattr("easyanimate_core.model.read_machine", lambda: SimpleNamespace(devices=devices))
        assert place() == ("cuda:0", "bfloat16")
        assert place(device="cuda") == ("cuda", "bfloat16")
        assert place(device="cpu") == ("cpu", "float32")


def test_the_clock_gives_each_step_to_its_phase(monkeypatch):
    now = iter([0.0, 2.0, 3.0, 7.0])
    monkeypatch.setattr("easyanimate_core.model.time.monotonic", lambda: next(now))
    told = []
    clock = PhaseClock(told.append)
    for phase in ("text", "denoise", "text"):
        clock(Progress(phase, 1, 1))
    assert clock.seconds == {"text": 6.0, "denoise": 1.0}
    assert [item.phase for item in told] == ["text", "denoise", "text"]


def test_a_saved_clip_is_the_clip(model):
    clip = model.make("x", num_frames=8)
    assert read_video(clip.save(Path("x.mp4"))).frames.shape == clip.video.frames.shape
