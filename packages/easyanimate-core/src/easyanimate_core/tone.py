"""HDR and wide-gamut pictures as a BT.709 screen shows them, as a table that FFmpeg's filter `lut3d` applies.

Values are display-referred: 1.0 is the white of an SDR screen. Sources: ITU-R BT.2100-2 (PQ, HLG), BT.2408 (reference
white), BT.1886 (gamma of an SDR screen), BT.2087 (BT.2020 to BT.709).

Axes: 3 red, green, blue.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

    Values = np.ndarray[Any, np.dtype[np.float64]]

Transfer = Literal["sdr", "pq", "hlg"]
Gamut = Literal["bt709", "bt2020", "p3"]

PQ_WHITE = 100.0
"""Candela per square metre of a PQ picture that become the white of SDR: what an SDR screen shows as white."""

HLG_WHITE = 203.0
"""The same of an HLG picture on its nominal screen of 1,000 cd/m2: the reference white of BT.2408 (75 % signal)."""

HLG_PEAK = 1000.0

SCREEN_GAMMA = 2.4
"""BT.1886."""

SHOULDER = 0.9
"""SDR signal up to which an HDR picture is shown as it is; what is brighter shares the rest."""

TABLE_SIZE = 33
"""Points of the table along each of red, green and blue."""

_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2

_TO_BT709: dict[Gamut, tuple[tuple[float, ...], ...]] = {
    "bt709": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "bt2020": ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    "p3": ((1.2249, -0.2249, 0.0), (-0.0420, 1.0420, 0.0), (-0.0197, -0.0786, 1.0983)),
}
"""Linear light from these primaries, white D65, to those of BT.709."""

_PQ, _HLG = 16, 18
_BT2020, _P3_THEATRE, _P3 = 9, 11, 12
"""Numbers of ITU-T H.273."""


class Tone(NamedTuple):
    """What the values of a picture mean."""

    transfer: Transfer = "sdr"
    gamut: Gamut = "bt709"

    @property
    def plain(self) -> bool:
        """Whether an SDR screen shows it as it is."""
        return self == PLAIN


PLAIN = Tone()


def find_tone(frame: VideoFrame) -> Tone:
    """What a frame says of its values; nothing said means BT.709."""
    transfer: Transfer = {_PQ: "pq", _HLG: "hlg"}.get(int(frame.color_trc), "sdr")  # pyright: ignore[reportAssignmentType]
    gamut: Gamut = {_BT2020: "bt2020", _P3_THEATRE: "p3", _P3: "p3"}.get(int(frame.color_primaries), "bt709")  # pyright: ignore[reportAssignmentType]
    return Tone(transfer, gamut)


def to_screen(signal: Values, tone: Tone) -> Values:
    """The signal for a BT.709 screen.

    Light is made linear, brought to BT.709's primaries (what they cannot show is below 0, which is black) and coded
    for a screen of gamma 2.4. Of HDR, what would come out above `SHOULDER` approaches 1 exponentially, with the slope
    of 1 where it begins; so highlights keep some drawing, and all below is as bright as meant.

    Args:
        signal: Red, green, blue from 0 to 1, [..., 3].
        tone: What it means.

    Returns:
        The same shape, up to 1. Values below 0 are left to be cut off, because a table is smoother with them.
    """
    import numpy as np

    light = _to_light(signal, tone.transfer) @ np.array(_TO_BT709[tone.gamut]).T
    shown = np.sign(light) * np.abs(light) ** (1 / SCREEN_GAMMA)
    if tone.transfer == "sdr":
        return np.minimum(shown, 1.0)
    rest = 1 - SHOULDER
    return np.where(shown < SHOULDER, shown, 1 - rest * np.exp(-(np.maximum(shown, SHOULDER) - SHOULDER) / rest))


@lru_cache(maxsize=4)
def format_table(tone: Tone) -> str:
    """The content of a `.cube` file for `lut3d`: `TABLE_SIZE` points each way, red moves fastest."""
    import numpy as np

    points = np.linspace(0.0, 1.0, TABLE_SIZE)
    blue, green, red = np.meshgrid(points, points, points, indexing="ij")
    values = to_screen(np.stack([red, green, blue], axis=-1).reshape(-1, 3), tone)
    lines = [f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in values.tolist()]
    return "\n".join([f"LUT_3D_SIZE {TABLE_SIZE}", *lines, ""])


def _to_light(signal: Values, transfer: Transfer) -> Values:
    """Linear light of a screen, 1.0 the white of SDR.

    HLG codes the light of the scene. Its system gamma of 1.2 is applied to each channel, as SDR's cameras and screens
    do together (and FFmpeg's zscale), instead of to the luminance: colours are as rich as in a recording in SDR.
    """
    import numpy as np

    if transfer == "pq":
        root = signal ** (1 / _PQ_M2)
        return (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1) * (10_000 / PQ_WHITE)
    if transfer == "hlg":
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)  # noqa: PLR2004
        return scene**_HLG_GAMMA * (HLG_PEAK / HLG_WHITE)
    return signal**SCREEN_GAMMA
