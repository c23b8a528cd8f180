"""Start images, end image, video and mask of a request to a clip and a mask."""

import numpy as np
import pytest
from easyanimate_core import PixelShape, Video, VideoRequest
from easyanimate_dit.sampling.request_clip import clip_from_images, clip_from_video

PIXELS = PixelShape(8, 32, 48)


def picture(level, height=32, width=48):
    return np.full((height, width, 3), level, np.uint8)


def kept(clip):
    return [not frame.any() for frame in clip.mask]


def make_request(**changes):
    values = {"num_frames": 8, "height": 32, "width": 48, "fps": 8, "num_inference_steps": 2}
    return VideoRequest(prompt="x", guidance_scale=1.0, sampler="euler", **(values | changes))


def test_one_start_image_stands_for_three_frames():
    clip = clip_from_images([picture(50)], None, PIXELS, image_frames=3, fit="stretch")
    assert kept(clip) == [True] * 3 + [False] * 5
    assert clip.video.shape == (8, 32, 48, 3)
    assert (clip.video == 50).all()
    assert (clip.picture == 50).all()
    assert set(np.unique(clip.mask)) == {0, 255}


def test_an_end_image_stands_for_the_last_three():
    clip = clip_from_images([picture(50)], picture(90), PIXELS, image_frames=3, fit="stretch")
    assert kept(clip) == [True] * 3 + [False] * 2 + [True] * 3
    assert clip.video[:, 0, 0, 0].tolist() == [50] * 5 + [90] * 3


def test_images_may_stand_for_one_frame():
    clip = clip_from_images([picture(50)], picture(90), PIXELS, image_frames=1, fit="stretch")
    assert kept(clip) == [True] + [False] * 6 + [True]


def test_several_start_images_are_the_first_frames_and_the_first_fills():
    clip = clip_from_images([picture(50), picture(60)], None, PIXELS, image_frames=3, fit="stretch")
    assert kept(clip) == [True] * 2 + [False] * 6
    assert clip.video[:, 0, 0, 0].tolist() == [50, 60] + [50] * 6


def test_an_image_of_one_frame_keeps_it():
    clip = clip_from_images([picture(50)], None, PixelShape(1, 32, 48), image_frames=3, fit="stretch")
    assert kept(clip) == [True]


def test_pictures_are_resized():
    clip = clip_from_images([picture(50, 10, 11)], picture(70, 99, 40), PIXELS, image_frames=3, fit="stretch")
    assert clip.video.shape == (8, 32, 48, 3)


def test_a_video_without_a_mask_is_generated_anew():
    video = Video(np.stack([picture(level) for level in range(10)]), 8)
    clip = clip_from_video(make_request(video=video), PIXELS)
    assert clip.video[:, 0, 0, 0].tolist() == list(range(8))
    assert (clip.mask == 255).all()


@pytest.mark.parametrize("mask_frames", [1, 8, 10])
def test_a_mask_of_any_size_and_level_is_binary(mask_frames):
    mask = np.zeros((mask_frames, 16, 24), np.uint8)
    mask[:, :8] = 1
    video = Video(np.stack([picture(5)] * 10), 8)
    clip = clip_from_video(make_request(video=video, mask=mask), PIXELS)
    assert clip.mask.shape == (8, 32, 48)
    assert (clip.mask[:, :16] == 255).all()
    assert not clip.mask[:, 16:].any()


def draw_circle(height=512, width=384):
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 4) ** 2
    return np.repeat((inside * np.uint8(255))[..., None], 3, axis=-1)


def measure(picture):
    rows, columns = np.nonzero(picture[..., 0] > 128)
    return np.ptp(columns) + 1, np.ptp(rows) + 1


@pytest.mark.parametrize("size", [(576, 448), (384, 672), (512, 512)])
@pytest.mark.parametrize(("fit", "is_round"), [("crop", True), ("pad", True), ("stretch", False)])
def test_a_circle_stays_round_unless_it_is_stretched(fit, is_round, size):
    clip = clip_from_images([draw_circle()], draw_circle(1024, 768), PixelShape(8, *size), image_frames=3, fit=fit)
    for frame in (clip.video[0], clip.video[-1], clip.picture):
        wide, high = measure(frame)
        assert (abs(wide - high) <= 1) == is_round


def test_bars_are_black_and_even():
    clip = clip_from_images([picture(200, 64, 64)], None, PixelShape(8, 32, 48), image_frames=3, fit="pad")
    assert not clip.video[:, :, :8].any()
    assert not clip.video[:, :, -8:].any()
    assert (clip.video[:, :, 8:-8] == 200).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("mask_size", [(100, 60), (50, 30), (60, 60)])
def test_a_mask_of_any_size_lies_where_the_video_is_white(fit, mask_size):
    def paint(height, width):
        frame = np.zeros((height, width), np.uint8)
        frame[height // 5 : height * 3 // 5, width // 3 : width * 2 // 3] = 255
        return frame

    video = Video(np.repeat(np.stack([paint(100, 60)] * 8)[..., None], 3, axis=-1), 8)
    clip = clip_from_video(make_request(video=video, mask=paint(*mask_size)[None], fit=fit), PIXELS)
    differs = (clip.video[0, ..., 0] > 128) != (clip.mask[0] > 0)
    assert clip.mask[0].any()
    assert differs.mean() < 0.03  # at edges, which are smooth in the one and hard in the other


def test_a_video_is_fitted_as_images_are():
    frame = draw_circle(60, 80)
    for fit in ("crop", "pad", "stretch"):
        by_video = clip_from_video(make_request(video=Video(np.stack([frame] * 8), 8), fit=fit), PIXELS)
        by_image = clip_from_images([frame], None, PIXELS, image_frames=3, fit=fit)
        assert np.array_equal(by_video.video, by_image.video)
