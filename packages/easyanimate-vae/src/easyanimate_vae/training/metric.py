"""Metrics of a reconstruction: PSNR and SSIM of each frame, and both clips side by side to look at.

Clips are uint8, or floating point in [-1, 1], where values beyond are cut off, as a video file would.
Axes: B batch, T frames, H height, W width in pixels.
"""

from typing import Any

import numpy as np
import torch
from easyanimate_core.errors import RequestError
from easyanimate_core.metric import compute_psnr
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

_WINDOW = 11
"""Side of the window of SSIM in pixels."""
_MAX_PSNR = 120.0
"""In dB, of equal frames too, so that a mean of many frames is finite."""


def compare_frames(
    pixels: Shaped[Tensor, "B 3 T H W"], decoded: Shaped[Tensor, "B 3 T H W"]
) -> dict[str, Float[Tensor, "B T"]]:
    """`psnr` in dB, at most 120, and `ssim`, 1 for equal frames, of each frame.

    SSIM is that of Wang et al. 2004 (doi 10.1109/TIP.2003.819861): Gaussian windows of 11 pixels that lie wholly inside
    the frame, the mean over them and the three colours.

    Raises:
        RequestError: The frames are smaller than a window.
    """
    from skimage.metrics import structural_similarity

    height, width = pixels.shape[-2:]
    if min(height, width) < _WINDOW:
        raise RequestError(
            "The frames are too small for SSIM.",
            received=f"{height} x {width} pixels",
            expected=f"height and width of at least {_WINDOW}",
        )
    expected, received = _to_frames(pixels), _to_frames(decoded)
    psnr = np.minimum(compute_psnr(expected, received), _MAX_PSNR)
    ssim = [
        [
            structural_similarity(
                *pair, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for pair in zip(*clips, strict=True)
        ]
        for clips in zip(expected, received, strict=True)
    ]
    return {"psnr": torch.tensor(psnr, dtype=torch.float32), "ssim": torch.tensor(ssim, dtype=torch.float32)}


def side_by_side(
    pixels: Shaped[Tensor, "3 T H W"], decoded: Shaped[Tensor, "3 T H W"]
) -> UInt8[np.ndarray[Any, Any], "T H twice_W 3"]:
    """Original left, reconstruction right, as frames for `easyanimate_core.video.write_video`."""
    both = np.concatenate([_to_frames(pixels), _to_frames(decoded)], axis=-2)
    return (both * 255).round().astype(np.uint8)


def _to_frames(clip: Shaped[Tensor, "*B 3 T H W"]) -> Float[np.ndarray[Any, Any], "*B T H W 3"]:
    """Values in [0, 1], float32."""
    unit = clip.float() / 255 if clip.dtype == torch.uint8 else (clip.float() / 2 + 0.5).clamp(0.0, 1.0)
    return unit.movedim(-4, -1).cpu().numpy()
