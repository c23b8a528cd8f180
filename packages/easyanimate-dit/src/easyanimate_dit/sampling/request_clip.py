"""What a request gives of its clip: start images, an end image or a source video become a clip and a mask.

Axes: T frames, H height, W width; pixels are uint8 [T, H, W, 3]; a mask is uint8 [T, H, W], 0 keeps, 255 generates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from easyanimate_core.shapes import fit_picture
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_core.request import VideoRequest
    from easyanimate_core.shapes import Fit, PixelShape


@dataclass(frozen=True)
class RequestClip:
    """Pixels that are given and which of them to generate.

    Args:
        video: uint8 [T, H, W, 3].
        mask: uint8 [T, H, W].
        picture: What the clip shall look like, uint8 [H, W, 3]; None where nothing says.
    """

    video: np.ndarray
    mask: np.ndarray
    picture: np.ndarray | None = None

    def keep_pixels(self, frames: np.ndarray) -> np.ndarray:
        """Frames that were made, uint8 [T, H, W, 3], with the given pixels wherever the mask keeps them."""
        return np.where(self.mask[..., None] == 0, self.video, frames)


def clip_from_images(
    images: Sequence[np.ndarray],
    end_image: np.ndarray | None,
    pixels: PixelShape,
    *,
    image_frames: int,
    fit: Fit = "crop",
) -> RequestClip:
    """A clip that starts with the images and ends with the end image; the frames between are filled with the first.

    One image is repeated for the first frames, several are the first frames one by one.

    Args:
        images: At least one, each uint8 [H, W, 3] of any size.
        end_image: The same.
        pixels: Size of the clip.
        image_frames: Frames that a single start image, or an end image, stands for.
        fit: How they come to this size.
    """
    num_frames = pixels.num_frames
    starts = [resize_picture(image, pixels, fit) for image in images]
    kept = len(starts) if len(starts) > 1 else min(image_frames, num_frames)
    video = np.repeat(starts[0][None], num_frames, axis=0)
    video[: len(starts)] = np.stack(starts)
    mask = np.full(video.shape[:3], 255, np.uint8)
    mask[:kept] = 0
    if end_image is not None:
        video[-image_frames:] = resize_picture(end_image, pixels, fit)
        mask[-image_frames:] = 0
    return RequestClip(video, mask, starts[0])


def clip_from_video(request: VideoRequest, pixels: PixelShape) -> RequestClip:
    """The frames of the request's video, with its mask or everything to generate."""
    assert request.video is not None  # noqa: S101 (the caller's task)
    frames = request.video.frames
    video = np.stack([resize_picture(frame, pixels, request.fit) for frame in frames[: pixels.num_frames]])
    if request.mask is None:
        return RequestClip(video, np.full(video.shape[:3], 255, np.uint8))
    binary = np.where(request.mask[: pixels.num_frames] > 0, np.uint8(255), np.uint8(0))
    # A mask covers the video, whatever size it has itself: what is cut off of the one is cut off of the other.
    resized = [resize_mask(frame, frames.shape[1:3], pixels, request.fit) for frame in binary]
    return RequestClip(video, np.broadcast_to(np.stack(resized), video.shape[:3]))


def resize_picture(picture: np.ndarray, pixels: PixelShape, fit: Fit) -> np.ndarray:
    """Bring a picture uint8 [H, W, 3] to the clip's size, bicubically."""
    return _resize(picture, (picture.shape[0], picture.shape[1]), pixels, fit, Image.Resampling.BICUBIC)


def resize_mask(mask: np.ndarray, covered: tuple[int, int], pixels: PixelShape, fit: Fit) -> np.ndarray:
    """Bring a mask uint8 [H, W] to the clip's size as the frames that it covers; black bars are kept as they are.

    Args:
        mask: Of any size.
        covered: Height and width of the frames.
        pixels: Size of the clip.
        fit: How the frames come to this size.
    """
    return _resize(mask, covered, pixels, fit, Image.Resampling.NEAREST)


def _resize(
    array: np.ndarray, shape: tuple[int, int], pixels: PixelShape, fit: Fit, resample: Image.Resampling
) -> np.ndarray:
    height, width = array.shape[:2]
    if shape == (height, width) == (pixels.height, pixels.width):
        return array
    place = fit_picture(*shape, pixels, fit)
    left, top = place.left * width, place.top * height
    box = (left, top, left + place.width * width, top + place.height * height)
    size = place.scaled_width, place.scaled_height
    scaled = np.asarray(Image.fromarray(array).resize(size, resample, box=box))
    rows, columns = pixels.height - place.scaled_height, pixels.width - place.scaled_width
    if not rows and not columns:
        return scaled
    bars = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)]
    return np.pad(scaled, [*bars, *[(0, 0)] * (array.ndim - 2)])
