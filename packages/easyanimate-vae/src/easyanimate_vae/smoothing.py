"""The smoothing pass of the V2 and V3 pipelines: hides the borders between chunks that were decoded apart.

Axes: B batch, T frames, H height, W width.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def smooth_chunks(
    clip: Float[Tensor, "B 3 T H W"], chunk_frames: int, reconstruct: Callable[[Tensor], Tensor]
) -> Float[Tensor, "B 3 T H W"]:
    """Reconstruct a clip with its chunks moved by half a chunk, and average: every border is inside a chunk once.

    Args:
        clip: Decoded frames; a clip of one chunk is only clamped.
        chunk_frames: Frames of a chunk.
        reconstruct: Encodes frames in [-1, 1] and decodes them again.

    Returns:
        Frames in [-1, 1].
    """
    clip = clip.clamp(-1, 1)
    frames = clip.shape[2]
    if frames <= chunk_frames:
        return clip
    middle = slice(chunk_frames // 2, frames - (chunk_frames - chunk_frames // 2))
    clip[:, :, middle] = torch.lerp(clip[:, :, middle], reconstruct(clip[:, :, middle]), 0.5)
    return clip.clamp_(-1, 1)
