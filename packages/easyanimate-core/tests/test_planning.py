"""From settings to clips that are ready to be made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import Defaults, MediaError, ModelSpec, RequestError, ShapeRule, Task, TrainedRange, Video
from easyanimate_core.manifest import describe_request
from easyanimate_core.planning import check_request, plan_clip
from easyanimate_core.video import read_image, read_mask, read_video, write_video

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


OFFICIAL = Defaults()
DEMO = Defaults(height=64, width=64, num_frames=16)


def follow(high, wide, defaults=OFFICIAL, trained=None, spec=SPEC, role="start_images", **settings):
    source = np.zeros((high, wide, 3), np.uint8)
    source = Video(np.stack([source] * 16), 8) if role == "video" else source
    planned = plan_clip({"prompt": "x", "num_frames": 16, role: source, **settings}, spec, defaults, trained=trained)
    return (planned.request.height, planned.request.width), planned.notes


@pytest.mark.parametrize("role", ["start_images", "video"])
@pytest.mark.parametrize(
    ("defaults", "trained", "source", "size"),
    [
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (512, 384), (576, 448)),
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (384, 512), (416, 576)),
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (4000, 3000), (576, 448)),
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (1080, 1920), (384, 672)),
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (500, 500), (512, 512)),
        (OFFICIAL, TrainedRange(min_side=512, max_side=1280), (10, 4000), (256, 1024)),
        (OFFICIAL, None, (1080, 1920), (384, 672)),
        (Defaults(height=576, width=1008), TrainedRange(min_side=768, max_side=768), (512, 384), (864, 672)),
        (Defaults(height=720, width=1280), TrainedRange(min_side=960, max_side=960), (1080, 1920), (720, 1280)),
        (DEMO, TrainedRange(min_side=64, max_side=64), (384, 512), (48, 64)),
        (DEMO, TrainedRange(min_side=64, max_side=64), (480, 512), (64, 64)),
        (DEMO, TrainedRange(min_side=64, max_side=64), (1080, 1920), (48, 80)),
        (DEFAULTS, None, (32, 48), (32, 48)),
    ],
)
def test_the_size_follows_the_source(defaults, trained, source, size, role):
    found, notes = follow(*source, defaults, trained, role=role)
    assert found == size
    word = "video" if role == "video" else "image"
    line = f"The size {size[0]}x{size[1]} follows the {word} of {source[0]}x{source[1]}; --size chooses another."
    assert (line in notes) == (size != (defaults.height, defaults.width))  # the usual one is no news


def test_a_size_that_is_asked_for_stays():
    assert follow(384, 512, height=384, width=672)[0] == (384, 672)
    assert follow(384, 512, width=320)[0] == (384, 320)


def test_sizes_that_follow_are_those_of_training():
    """As the original's page resizes by reference: the nearest ratio of the table, scaled, on the grid."""
    from easyanimate_core.aspect_ratio import ASPECT_RATIOS, scale_bucket

    rng = np.random.default_rng(0)
    for height, width in rng.integers(200, 900, (200, 2)).tolist():
        nearest = min(ASPECT_RATIOS, key=lambda ratio: abs(ratio - height / width))
        assert follow(height, width, trained=TrainedRange())[0] == scale_bucket(nearest, 512)


def test_weights_that_know_squares_alone_make_squares():
    squares, usual = TrainedRange(min_side=64, max_side=64, max_ratio=1.0), Defaults(height=64, width=64)
    found, notes = follow(512, 384, usual, squares)
    assert found == (64, 64)
    (note,) = notes
    assert note.startswith("The image of 512x384 is cropped to the shape of 64x64: 25 % of it is cut off;")
    oblong = replace(squares, max_ratio=1.5)
    assert follow(512, 384, usual, oblong)[0] == (64, 48)
    assert max(follow(1000, 100, usual, oblong)[0]) <= 1.5 * min(follow(1000, 100, usual, oblong)[0])


def test_sizes_that_follow_are_valid():
    rule = ShapeRule(size_multiple=32, max_size=768)
    for height, width in [(10, 4000), (4000, 10), (333, 777), (1, 1)]:
        (high, wide), _ = follow(height, width, trained=TrainedRange(), spec=replace(SPEC, shapes=rule))
        assert high % 32 == wide % 32 == 0
        assert max(high, wide) <= 768


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ("crop", "is cropped to the shape of 384x672: 24 % of it is cut off"),
        ("pad", "gets black bars, to fill 384x672"),
        ("stretch", "is stretched to 384x672, another shape"),
    ],
)
def test_a_change_of_shape_is_told_once(fit, words):
    pictures = [np.zeros((384, 512, 3), np.uint8)] * 2
    notes = plan(start_images=pictures, end_image=pictures[0], fit=fit, height=384, width=672).notes
    assert [line.partition(" of ")[0] for line in notes] == ["The image", "The end-image"]
    assert all(words in line for line in notes)
    assert plan(start_images=pictures, fit=fit, height=48, width=64).notes == ()
    assert plan(start_images=np.zeros((383, 511, 3), np.uint8), fit=fit, height=48, width=64).notes == ()


def test_a_fit_is_one_of_three():
    with pytest.raises(RequestError, match="did you mean crop") as caught:
        plan(fit="crp")
    assert caught.value.expected == "crop, pad, stretch"


@pytest.mark.parametrize(("level", "words"), [(0, "black everywhere"), (255, "white everywhere")])
def test_a_mask_of_one_colour_is_told(level, words):
    video, mask = read_video(Path("video.mp4")), np.full((1, 32, 48), level, np.uint8)
    assert any(words in line for line in plan(video=video, mask=mask).notes)
    mask[:, :16] = 255 - level
    assert not any("everywhere" in line for line in plan(video=video, mask=mask).notes)


def test_what_is_far_from_training_is_a_note_too():
    assert "may look worse" in follow(64, 64, trained=TrainedRange(), height=64, width=64)[1][0]


def test_a_segment_alone_has_a_usual_overlap():
    request = plan(num_frames=40, segment_frames=16).request
    assert (request.segment_frames, request.overlap_frames) == (16, 4)
    assert plan(num_frames=40, segment_frames=16, overlap_frames=2).request.overlap_frames == 2
    free = plan(replace(SPEC, shapes=None), num_frames=40, segment_frames=3).request
    assert free.overlap_frames == 2
    with pytest.raises(RequestError, match="length of a segment"):
        plan(num_frames=40, overlap_frames=4)


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (SPEC, {"video": "gone.mp4", "num_frames": 17}, "use 16 or 24"),
        (SPEC, {"video": "gone.mp4", "height": 33}, "height 33"),
        (SPEC, {"start_images": "gone.png", "sampler": "eulr"}, "did you mean euler"),
        (SPEC, {"video": "gone.mp4", "fit": "squeeze"}, "no such fit"),
        (TEXT_ONLY, {"start_images": "gone.png"}, "cannot do that"),
        (TEXT_ONLY, {"video": "gone.mp4"}, "cannot do that"),
    ],
)
def test_settings_are_checked_before_files_are_read(spec, settings, message):
    with pytest.raises(RequestError, match=message):
        plan(spec, ("euler",), **settings)


def test_an_upright_size_that_was_typed_is_told():
    typed = plan(size="1280x720")
    assert (typed.request.height, typed.request.width) == (1280, 720)
    assert typed.notes == ("The size 1280x720 is read as height 1280, width 720; for a wide one, --size 720x1280.",)
    assert plan(size="720\u00d71280").notes == ()
    assert plan(height=1280, width=720).notes == ()
    upright = np.zeros((64, 36, 3), np.uint8)
    assert plan(size="1280x720", start_images=upright).notes == ()
    with pytest.raises(RequestError, match=r"width 1080 of 1920x1080 \(height x width\)"):
        plan(size="1920x1080")


def count(num_frames, fps=8.0):
    """A video whose frames say which they are."""
    return Video(np.arange(num_frames, dtype=np.uint8)[:, None, None, None].repeat(3, -1), fps)


def number(request):
    return request.video.frames[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("settings", "frames", "fps"),
    [
        ({}, range(16), 24),
        ({"num_frames": 8}, range(8), 24),
        ({"num_frames": 8, "video_start": 1}, range(24, 32), 24),
        ({"num_frames": 8, "video_fps": 8}, range(0, 24, 3), 8),
        ({"num_frames": 8, "video_fps": 8, "video_start": 1.5, "fps": 12}, range(36, 60, 3), 12),
        ({"num_frames": 8, "video_fps": 48}, [0, 0, 1, 1, 2, 2, 3, 3], 48),
        ({"video_fps": 6}, range(0, 64, 4), 6),
    ],
)
def test_what_is_taken_of_a_video(settings, frames, fps):
    mask = count(72).frames[..., 0]
    request = plan(video=count(72, 24.0), mask=mask, **settings).request
    assert number(request) == request.mask[:, 0, 0].tolist() == list(frames)
    assert (request.fps, request.num_frames) == (fps, len(list(frames)))
    one = plan(video=count(72, 24.0), mask=mask[:1], **settings).request
    assert len(one.mask) == 1


def test_what_is_taken_of_a_file_is_taken_again():
    frames = count(200).frames.repeat(32, 1).repeat(32, 2)
    write_video(Path("count.mp4"), Video(frames, 20), crf=0)
    settings = {"video": "count.mp4", "mask": "count.mp4", "video_start": 2.5, "video_fps": 5, "num_frames": 24}
    first = plan(**settings)
    assert first.request.fps == 5
    np.testing.assert_allclose(number(first.request), range(50, 146, 4), atol=2)  # limited range of yuv
    described = describe_request(first.request)
    assert (described["video_start"], described["video_fps"]) == (2.5, 5)
    again = plan(**{**described, "video": "count.mp4", "mask": "count.mp4"}).request
    np.testing.assert_array_equal(again.video.frames, first.request.video.frames)
    np.testing.assert_array_equal(again.mask, first.request.mask)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "The first 16 of 240 frames of the video are used; "),
        ({"num_frames": 72}, "The first 72 of 240 frames"),
        ({"num_frames": 72, "video_start": 1}, "72 of 180 frames of the video from second 1 on are used; "),
        ({"num_frames": 16, "video_fps": 6}, "The first 16 of 24 frames"),
        ({"num_frames": 24, "video_fps": 6}, None),
        ({"video": "clip", "num_frames": 16}, None),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_video_that_goes_on_is_told(settings, line, in_file):
    video = count(16 if settings.get("video") else 240, 60.0)
    video = Video(video.frames.repeat(32, 1).repeat(48, 2), 60.0)
    if in_file:
        write_video(Path("long.mp4"), video)
    notes = plan(**settings | {"video": "long.mp4" if in_file else video}).notes
    assert len(notes) == (1 if line else 0)
    assert line is None or (line in notes[0] and "--video-start" in notes[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"video_start": 1}, "needs one"),
        ({"video_fps": 8, "start_images": "image.png"}, "needs one"),
        ({"video": "video.mp4", "video_start": -1}, "video_start is out of range"),
        ({"video": "video.mp4", "video_start": float("nan")}, "video_start is out of range"),
        ({"video": "video.mp4", "video_fps": 0}, "video_fps is out of range"),
        ({"video": "video.mp4", "video_fps": float("inf")}, "video_fps is out of range"),
        ({"video": "video.mp4", "video_start": "1"}, "video_start is of another type"),
    ],
)
def test_what_cannot_be_taken_of_a_video(settings, message):
    with pytest.raises(RequestError, match=message):
        plan(**settings)


def test_a_start_behind_the_end():
    for video in ("video.mp4", count(20, 10)):
        with pytest.raises(MediaError):
            plan(video=video, video_start=3)
        with pytest.raises(MediaError, match="shorter than the clip") as caught:
            plan(video=video, video_start=1, num_frames=16)
        assert caught.value.fix == "use --frames 8, or an earlier --video-start"
