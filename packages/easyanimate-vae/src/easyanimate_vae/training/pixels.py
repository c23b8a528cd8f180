"""Clips of a dataset, scaled for a VAE.

Axes: B clips, T frames, H height, W width.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def scale_pixels(frames: UInt8[np.ndarray[Any, Any], "B T H W 3"], device: torch.device) -> Float[Tensor, "B 3 T H W"]:
    """Pixels in [-1, 1], channels last like the weights."""
    pixels = torch.from_numpy(frames).to(device).permute(0, 4, 1, 2, 3)
    return pixels.to(torch.float32, memory_format=torch.channels_last_3d).div_(127.5).sub_(1.0)
