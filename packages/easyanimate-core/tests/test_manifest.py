import json

import numpy as np
import pytest
from easyanimate_core import EasyAnimateError, MediaError, Video, VideoRequest
from easyanimate_core.manifest import (
    InputFile,
    Manifest,
    WeightsRecord,
    describe_request,
    package_versions,
    portable_path,
    read_manifest,
)
from easyanimate_core.video import write_image, write_video
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FRAMES = np.zeros((2, 32, 32, 3), np.uint8)


@pytest.fixture
def request_():
    return VideoRequest(
        prompt="一个红色的圆形",
        num_frames=2,
        height=32,
        width=32,
        fps=23.976,
        num_inference_steps=2,
        guidance_scale=7.5,
        sampler="euler",
        seed=2**62 + 1,
        start_images=(FRAMES[0],),
    )


@pytest.fixture
def manifest(request_, tmp_path):
    image = tmp_path / "start.png"
    write_image(image, FRAMES[0])
    return Manifest(
        model="v4",
        weights=WeightsRecord(name="demo", folder="/weights", hashes={"vae/w.safetensors": "0" * 64}),
        request=describe_request(request_),
        inputs=(InputFile.read("image", image), InputFile.read("lora", image, weight=0.7)),
        timings={"denoise": 1.5},
    )


def test_it_comes_back_from_the_files(manifest, tmp_path):
    for path in (
        write_video(tmp_path / "a.mp4", Video(FRAMES, 8), manifest=manifest.to_json()),
        write_image(tmp_path / "a.png", FRAMES[0], manifest=manifest.to_json()),
    ):
        assert read_manifest(path) == manifest


def test_the_request_can_be_made_again(manifest, request_):
    described = json.loads(json.dumps(manifest.to_json()))["request"]
    again = VideoRequest(**described, start_images=request_.start_images)
    assert describe_request(again) == describe_request(request_)
    assert manifest.seed == request_.seed == again.seed


def test_it_says_what_took_part(manifest):
    assert {"easyanimate-core", "numpy", "av"} <= manifest.packages.keys()
    assert manifest.packages == package_versions()
    assert manifest.created.endswith("+00:00")


def test_input_files_are_checked(manifest):
    (image,) = manifest.files("image")
    path = image.check()
    assert manifest.files("lora")[0].weight == 0.7
    path.write_bytes(b"other")
    with pytest.raises(MediaError, match="has changed"):
        image.check()
    path.unlink()
    with pytest.raises(MediaError, match="is gone"):
        image.check()


def test_a_file_without_a_manifest(tmp_path):
    for path in (
        write_video(tmp_path / "a.mp4", Video(FRAMES, 8)),
        write_image(tmp_path / "a.png", FRAMES[0]),
        write_image(tmp_path / "b.png", FRAMES[0], manifest={"other": 1}),
    ):
        with pytest.raises(MediaError, match="carries no manifest"):
            read_manifest(path)


def test_a_newer_format(manifest):
    with pytest.raises(EasyAnimateError, match="format version 99"):
        Manifest.from_json(manifest.to_json() | {"format_version": 99})


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"weights": {"nam": 1}},
        {"weights": None},
        {"weights": {"name": 3}},
        {"weights": {"name": "demo", "hashes": [1]}},
        {"weights": {"name": "demo", "folder": 3}},
        {"inputs": [{"role": "image"}]},
        {"inputs": {"role": "image"}},
        {"inputs": ["image"]},
        {"inputs": [{"role": "image", "path": "a\0b", "sha256": "0"}]},
        {"inputs": [{"role": "lora", "path": "a", "sha256": "0", "weight": "much"}]},
        {"inputs": [{"role": "lora", "path": "a", "sha256": "0", "weight": float("nan")}]},
        {"inputs": [{}] * 20_000},
        {"model": 4},
        {"model": None},
        {"model": "x" * 10_000},
        {"device": ["cpu"]},
        {"timings": {"denoise": "long"}},
        {"timings": [1]},
        {"packages": {"numpy": 2}},
        {"created": 2026},
        {"request": None},
        {"request": []},
        {"request": {"prompt": ["a"]}},
        {"request": {"prompt": {"a": 1}}},
        {"request": {"prompt": "x" * 10**6}},
        {"request": {"fps": 10**300}},
        {"request": {"fps": float("inf")}},
        {"request": {"fps": float("nan")}},
    ],
)
def test_a_damaged_manifest(manifest, change):
    with pytest.raises(EasyAnimateError, match="damaged") as caught:
        Manifest.from_json(manifest.to_json() | change)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("version", [None, "1", [1], {}, 1.5, 10**300])
def test_a_format_that_is_none(manifest, version):
    with pytest.raises(EasyAnimateError, match="cannot be read by this version"):
        Manifest.from_json(manifest.to_json() | {"format_version": version})


@pytest.mark.parametrize("kind", ["png", "gif", "webp"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"format_version": ' + "9" * 5000 + "}", "{", "[1]", "null", "x"]
)
def test_comments_of_others_are_no_manifest(tmp_path, kind, text):
    path = tmp_path / f"a.{kind}"
    picture = Image.fromarray(FRAMES[0])
    if kind == "png":
        info = PngInfo()
        info.add_text("easyanimate", text)
        picture.save(path, pnginfo=info)
    elif kind == "gif":
        picture.save(path, comment=text.encode())
    else:
        picture.save(path, xmp=f"<ea:manifest>{text}</ea:manifest>".encode())
    with pytest.raises(MediaError, match="carries no manifest"):
        read_manifest(path)


class TestPaths:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path, monkeypatch):
        """A home folder, /…/home/alice."""
        home = tmp_path / "home" / "alice"
        home.mkdir(parents=True)
        monkeypatch.setattr("easyanimate_core.manifest.Path.home", lambda: home)
        return home

    @pytest.mark.parametrize(
        ("place", "folder", "written"),
        [
            ("work/image.png", "work", "image.png"),
            ("work/image.png", "work/outputs", "../image.png"),
            ("work/in/image.png", "work/outputs", "../in/image.png"),
            ("home/alice/a/image.png", "home/alice/a/outputs", "../image.png"),
            ("home/alice/a/image.png", "home/alice/b", "~/a/image.png"),
            ("home/alice/image.png", "home/alice", "~/image.png"),
            ("home/alice/a/image.png", "work", "~/a/image.png"),
            ("work/~x", "work", "./~x"),
        ],
    )
    def test_they_are_seen_from_the_clip(self, tmp_path, place, folder, written):
        path = str(tmp_path / place)
        assert portable_path(path, tmp_path / folder) == written
        content = Manifest(
            model="v4",
            weights=WeightsRecord(name=path, folder=path),
            request={},
            inputs=(InputFile(role="x", path=path, sha256=""),),
        ).to_json(tmp_path / folder)
        assert "alice" not in json.dumps(content)
        again = Manifest.from_json(content, tmp_path / folder)
        assert again.inputs[0].path == again.weights.folder == path

    def test_what_has_no_folder_in_common_stays(self, tmp_path):
        assert portable_path("/elsewhere/image.png", tmp_path) == "/elsewhere/image.png"
        assert portable_path("", tmp_path) == ""
        assert portable_path("demo", tmp_path) == "demo"

    def test_names_that_are_not_utf8(self, tmp_path):
        item = InputFile(role="image", path=str(tmp_path / "a\udcff.png"), sha256="")
        content = Manifest(model="v4", weights=WeightsRecord(name="demo"), request={}, inputs=(item,)).to_json(tmp_path)
        assert Manifest.from_json(json.loads(json.dumps(content)), tmp_path).inputs == (item,)
