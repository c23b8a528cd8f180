"""Start images, end image, video and mask of a request to a clip and a mask."""

import numpy as np
import pytest
from easyanimate_core import PixelShape, RequestError, Video, VideoRequest
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
    clip = clip_from_images([picture(50)], None, PIXELS, image_frames=3)
    assert kept(clip) == [True] * 3 + [False] * 5
    assert clip.video.shape == (8, 32, 48, 3)
    assert (clip.video == 50).all()
    assert (clip.picture == 50).all()
    assert set(np.unique(clip.mask)) == {0, 255}


def test_an_end_image_stands_for_the_last_three():
    clip = clip_from_images([picture(50)], picture(90), PIXELS, image_frames=3)
    assert kept(clip) == [True] * 3 + [False] * 2 + [True] * 3
    assert clip.video[:, 0, 0, 0].tolist() == [50] * 5 + [90] * 3


def test_images_may_stand_for_one_frame():
    clip = clip_from_images([picture(50)], picture(90), PIXELS, image_frames=1)
    assert kept(clip) == [True] + [False] * 6 + [True]


def test_several_start_images_are_the_first_frames_and_the_first_fills():
    clip = clip_from_images([picture(50), picture(60)], None, PIXELS, image_frames=3)
    assert kept(clip) == [True] * 2 + [False] * 6
    assert clip.video[:, 0, 0, 0].tolist() == [50, 60] + [50] * 6


def test_an_image_of_one_frame_keeps_it():
    clip = clip_from_images([picture(50)], None, PixelShape(1, 32, 48), image_frames=3)
    assert kept(clip) == [True]


def test_pictures_are_resized():
    clip = clip_from_images([picture(50, 10, 11)], picture(70, 99, 40), PIXELS, image_frames=3)
    assert clip.video.shape == (8, 32, 48, 3)


def test_more_images_than_frames_are_refused():
    with pytest.raises(RequestError, match="more start images"):
        clip_from_images([picture(1)] * 9, None, PIXELS, image_frames=3)


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


def test_a_mask_that_is_too_short_is_refused():
    video = Video(np.stack([picture(5)] * 10), 8)
    with pytest.raises(RequestError, match="mask is shorter"):
        clip_from_video(make_request(video=video, mask=np.ones((3, 8, 8), np.uint8)), PIXELS)
