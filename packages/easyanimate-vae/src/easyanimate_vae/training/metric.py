"""How near a reconstruction is: PSNR and SSIM of each frame, and both clips side by side for the eye.

Clips are uint8, or floating point in [-1, 1], where values beyond are cut off, as a video file would.
Axes: B batch, T frames, H height, W width in pixels.
"""

from typing import Any

import numpy as np
import torch
from easyanimate_core.errors import RequestError
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

_WINDOW = 11
_DEVIATION = 1.5
"""The Gaussian window of Wang et al. 2004, in pixels."""
_FLOOR = 1e-12
"""Smallest mean squared error, so that equal frames have a PSNR of 120 dB instead of infinity."""


def compute_psnr(pixels: Shaped[Tensor, "B 3 T H W"], decoded: Shaped[Tensor, "B 3 T H W"]) -> Float[Tensor, "B T"]:
    """Peak signal to noise ratio of each frame, in dB."""
    error = (_to_unit(pixels) - _to_unit(decoded)).square().mean(dim=(1, 3, 4))
    return -10.0 * error.clamp(min=_FLOOR).log10()


def compute_ssim(pixels: Shaped[Tensor, "B 3 T H W"], decoded: Shaped[Tensor, "B 3 T H W"]) -> Float[Tensor, "B T"]:
    """Structural similarity of each frame (Wang et al. 2004, doi 10.1109/TIP.2003.819861): 1 for equal frames.

    Windows lie wholly inside the frame; the mean is over them and the three colours.

    Raises:
        RequestError: For frames under 11 pixels.
    """
    if min(pixels.shape[-2:]) < _WINDOW:
        raise RequestError(
            "The frames are too small for SSIM.",
            received=f"{pixels.shape[-2]} x {pixels.shape[-1]} pixels",
            expected=f"height and width of at least {_WINDOW}",
        )
    batch, _, frames = pixels.shape[:3]
    x, y = (_to_unit(clip).transpose(1, 2).flatten(0, 2).unsqueeze(1) for clip in (pixels, decoded))
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x.square()) - mean_x.square()
    variance_y = _blur(y.square()) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    # Squares of 0.01 and 0.03 of the range of values, which is 1.
    luminance, contrast = 1e-4, 9e-4
    similarity = (
        (2 * mean_x * mean_y + luminance)
        * (2 * covariance + contrast)
        / ((mean_x.square() + mean_y.square() + luminance) * (variance_x + variance_y + contrast))
    )
    return similarity.mean(dim=(1, 2, 3)).view(batch, frames, 3).mean(dim=2)


def side_by_side(
    pixels: Shaped[Tensor, "3 T H W"], decoded: Shaped[Tensor, "3 T H W"]
) -> UInt8[np.ndarray[Any, Any], "T H twice_W 3"]:
    """Original left, reconstruction right, as frames for `easyanimate_core.video.write_video`."""
    both = torch.cat([_to_unit(pixels), _to_unit(decoded)], dim=-1)
    return (both * 255).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


def _to_unit(clip: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Values in [0, 1], float32."""
    if clip.dtype == torch.uint8:
        return clip.float() / 255
    return (clip.float() / 2 + 0.5).clamp(0.0, 1.0)


def _blur(x: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N 1 Y X"]:
    """Mean under the Gaussian window, one direction after the other."""
    distance = torch.arange(_WINDOW, device=x.device, dtype=x.dtype) - _WINDOW // 2
    window = torch.softmax(-distance.square() / (2 * _DEVIATION**2), dim=0)
    return functional.conv2d(functional.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
