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
    read_manifest,
)
from easyanimate_core.video import write_image, write_video

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


@pytest.mark.parametrize("change", [{"unknown": 1}, {"weights": {"nam": 1}}, {"inputs": [{"role": "image"}]}])
def test_a_damaged_manifest(manifest, change):
    with pytest.raises(EasyAnimateError, match="damaged"):
        Manifest.from_json(manifest.to_json() | change)
