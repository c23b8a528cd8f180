"""From settings to clips that are ready to be made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import Defaults, MediaError, ModelSpec, RequestError, ShapeRule, Task, Video
from easyanimate_core.manifest import InputFile
from easyanimate_core.planning import check_request, plan_clip, read_sources
from easyanimate_core.video import read_image, read_mask, read_video

DEFAULTS = Defaults(height=32, width=48, num_frames=16, fps=8, num_inference_steps=4)
SPEC = ModelSpec(key="tiny", summary="", load=print, tasks=tuple(Task), shapes=ShapeRule())
TEXT_ONLY = replace(SPEC, key="text", tasks=(Task.TEXT_TO_VIDEO,))

pytestmark = pytest.mark.usefixtures("fake", "media")


def plan(spec=SPEC, samplers=(), **settings):
    return plan_clip({"prompt": "x", **settings}, spec, DEFAULTS, samplers=samplers)


def test_what_is_left_open_comes_from_the_defaults():
    request = plan(fps=None, height=64, seed=3).request
    assert (request.height, request.width, request.num_frames, request.fps) == (64, 48, 16, 8)
    assert (request.num_inference_steps, request.guidance_scale, request.sampler) == (4, 7.0, "euler")
    assert (request.seed, request.strength, request.guidance_rescale, request.start_images) == (3, 1.0, 0.0, ())


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("num_frame", "did you mean num_frames"),
        ("guidance", "did you mean guidance_scale"),
        ("frames", "num_frames"),
        ("zzz", None),
    ],
)
def test_an_unknown_setting(name, fix):
    with pytest.raises(RequestError, match=f"There is no setting {name}") as caught:
        plan(**{name: 3})
    assert "num_inference_steps" in caught.value.expected
    assert (fix or "") in (caught.value.fix or "")
    assert fix or caught.value.fix is None


@pytest.mark.parametrize("prompt", ["", "  \n", None])
def test_there_must_be_a_prompt(prompt):
    with pytest.raises(RequestError, match="prompt is empty"):
        plan(prompt=prompt)


@pytest.mark.parametrize(
    ("settings", "strength"),
    [
        ({"video": "video.mp4"}, 0.7),
        ({"video": "video.mp4", "mask": "mask.png"}, 1.0),
        ({"video": "video.mp4", "mask": None}, 0.7),
        ({"video": "video.mp4", "mask": "mask.png", "strength": 0.4}, 0.4),
        ({"video": "video.mp4", "strength": 1.0}, 1.0),
        ({}, 1.0),
        ({"start_images": "image.png"}, 1.0),
    ],
)
def test_a_video_without_a_mask_is_replaced_in_part(settings, strength):
    assert plan(**settings).request.strength == strength


@pytest.mark.parametrize("source", ["video.mp4", Path("video.mp4"), "pixels"])
def test_a_video_gives_its_rate_and_as_many_frames_as_usual(source):
    source = read_video(Path("video.mp4")) if source == "pixels" else source
    request = plan(video=source).request
    assert (request.num_frames, request.fps, len(request.video.frames)) == (16, 10, 16)
    request = plan(video=source, num_frames=8, fps=24).request
    assert (request.num_frames, request.fps, len(request.video.frames)) == (8, 24, 8)
    with pytest.raises(MediaError, match="20 frames for 24") as caught:
        plan(video=source, num_frames=24)
    assert caught.value.received.startswith("a video: " if isinstance(source, Video) else "video.mp4: ")
    assert caught.value.fix == "use --frames 16"


def test_files_and_pixels_give_the_same_request():
    image, mask, video = read_image(Path("image.png")), read_mask(Path("mask.png")), read_video(Path("video.mp4"))
    by_file = plan(start_images=["image.png", Path("image.png")], end_image="image.png")
    by_pixels = plan(start_images=[image, image], end_image=image)
    for one, other in zip(by_file.request.start_images, by_pixels.request.start_images, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(by_file.request.end_image, by_pixels.request.end_image)
    assert [item.role for item in by_file.inputs] == [item.role for item in by_pixels.inputs]
    assert [item.role for item in by_file.inputs] == ["image", "image", "end-image"]
    assert [Path(item.path).name for item in by_file.inputs] == ["image.png"] * 3
    assert [item.path for item in by_pixels.inputs] == [""] * 3
    by_file, by_pixels = plan(video="video.mp4", mask="mask.png"), plan(video=video, mask=mask)
    np.testing.assert_array_equal(by_file.request.video.frames, by_pixels.request.video.frames)
    np.testing.assert_array_equal(by_file.request.mask, by_pixels.request.mask)


def test_a_single_image_need_not_be_in_a_list():
    image = read_image(Path("image.png"))
    for given in (image, (image,), "image.png"):
        [read] = plan(start_images=given).request.start_images
        np.testing.assert_array_equal(read, image)


def test_a_file_that_cannot_be_read():
    for name in ("start_images", "video"):
        with pytest.raises(MediaError, match=r"gone\.png"):
            plan(**{name: "gone.png"})


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (TEXT_ONLY, {"start_images": "image.png"}, r"model text cannot do that(?s:.*)image-to-video"),
        (TEXT_ONLY, {"segment_frames": 16, "overlap_frames": 4}, "cannot make a long video"),
        (SPEC, {"height": 33}, "use 32 or 48"),
        (SPEC, {"num_frames": 17}, "use 16 or 24"),
        (SPEC, {"num_frames": 160}, "use 144"),
        (SPEC, {"num_frames": 161, "segment_frames": 16, "overlap_frames": 4}, "use 160 or 168"),
        (SPEC, {"num_frames": 160, "segment_frames": 15, "overlap_frames": 4}, "use 8 or 16"),
        (SPEC, {"sampler": "eulr"}, "did you mean euler"),
    ],
)
def test_what_the_model_cannot_do(spec, settings, message):
    with pytest.raises(RequestError, match=message):
        plan(spec, ("euler", "ddim"), **settings)


def test_what_the_model_can_do():
    assert plan(sampler="anything").request.sampler == "anything"
    assert plan(num_frames=160, segment_frames=16, overlap_frames=4).request.num_frames == 160
    free = replace(SPEC, shapes=None)
    check_request(plan(free, num_frames=3, height=7).request, free, samplers=("euler",))


def test_the_files_of_a_manifest_are_read_again():
    first = plan(video="video.mp4", mask="mask.png")
    sources = read_sources((*first.inputs, InputFile.read("lora", Path("image.png"))), 16)
    assert set(sources) == {"video", "mask"}
    np.testing.assert_array_equal(sources["video"].frames, first.request.video.frames)
    first = plan(start_images=["image.png"] * 2, end_image="image.png")
    assert len(read_sources(first.inputs, 16)["start_images"]) == 2
    Path("image.png").write_bytes(b"other")
    with pytest.raises(MediaError, match="has changed"):
        read_sources(first.inputs, 16)


def test_pixels_of_a_manifest_cannot_be_read_again():
    with pytest.raises(MediaError, match="pixels in memory"):
        read_sources(plan(start_images=read_image(Path("image.png"))).inputs, 16)
