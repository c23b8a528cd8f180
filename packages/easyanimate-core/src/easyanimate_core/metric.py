"""How near pictures are to what they should be: PSNR, without PyTorch.

Axes: H height, W width, 3 red, green, blue; axes before them (clips, frames) are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compute_psnr(expected: NDArray[Any], received: NDArray[Any]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each picture, in dB: 0 for black against white, infinite for equal pictures.

    Args:
        expected: Pixels [..., H, W, 3], uint8 or floating point in [0, 1].
        received: Pixels of the same shape and kind.

    Returns:
        A number for each picture, of shape [...]; of a single picture an array without axes, for `float`.

    Raises:
        RequestError: The pictures differ in shape or in kind.
    """
    import numpy as np

    kinds = [(pixels.shape, "uint8" if pixels.dtype == np.uint8 else "float") for pixels in (expected, received)]
    if kinds[0] != kinds[1]:
        raise RequestError(
            "Pictures to compare must have the same shape and the same kind of pixels.",
            received=f"{kinds[0]} and {kinds[1]}",
            expected="two arrays [..., height, width, 3], both uint8 or both floating point in [0, 1]",
        )
    peak = 255.0 if expected.dtype == np.uint8 else 1.0
    error = np.mean((expected.astype(np.float64) - received) ** 2, axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(peak**2 / error))
