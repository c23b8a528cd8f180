"""What a person sees of a decoded frame: square pixels, no combs, upright, SDR colours, on black.

Axes: H height, W width, 3 red, green, blue; pixels are uint8.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# PyAV and NumPy leave some of their types open.

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from easyanimate_core.errors import MediaError
from easyanimate_core.tone import PLAIN, Tone, find_tone, format_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av import VideoFrame, VideoStream
    from av.filter import Graph

    Pixels = npt.NDArray[np.uint8]

MAX_FRAME_PIXELS = 2**26
"""The most pixels of a frame of a video, as stored and as shown: four times 8K."""

MAX_ASPECT = 10
"""How often wider than high, or the other way round, a pixel may be; a file that says more is not believed."""

DEINTERLACE = "bwdif=mode=send_frame:parity=auto:deint=interlaced"
"""FFmpeg's filter for frames of two fields: a frame stays a frame, and those that say that they are whole stay."""

_DOLBY_IPT = 15
"""Matrix of Dolby Vision's own colours (profile 5), which FFmpeg cannot undo."""


def check_frame_size(path: Path, width: int, height: int) -> None:
    """Refuse frames of more than `MAX_FRAME_PIXELS`.

    Raises:
        MediaError: Naming the file and the size.
    """
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(
            "The frames of the video are too large.",
            received=f"{path}: {width}x{height}",
            expected=f"at most {MAX_FRAME_PIXELS:,} pixels",
            fix="make it smaller, for example with ffmpeg",
        )


class Turn(NamedTuple):
    """How the stored pixels become upright: first rows and columns are exchanged, then each axis is reversed."""

    exchange: bool = False
    rows: bool = False
    columns: bool = False

    @classmethod
    def from_matrix(cls, matrix: bytes) -> Turn:
        """The nearest to a display matrix, nine int32 as FFmpeg has them: (x, y) goes to (a x + c y, b x + d y)."""
        a, b, _, c, d = memoryview(matrix).cast("i")[:5]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(rows=d < 0, columns=a < 0)
        return cls(exchange=True, rows=b < 0, columns=c < 0)

    @classmethod
    def from_exif(cls, orientation: int) -> Turn:
        """The meaning of the EXIF tag Orientation, 1 to 8; others leave the picture as it is."""
        return _EXIF.get(orientation, cls())

    def apply(self, pixels: Pixels) -> Pixels:
        """The upright picture of [H, W, ...], which may be a view."""
        if self.exchange:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.rows else 1, :: -1 if self.columns else 1]


UPRIGHT = Turn()

_EXIF = {
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(exchange=True),
    6: Turn(exchange=True, columns=True),
    7: Turn(exchange=True, rows=True, columns=True),
    8: Turn(exchange=True, rows=True),
}


@dataclass(frozen=True)
class Look:
    """What a stream says about how its frames are to be shown, from its first frame.

    Args:
        height: Of a frame as shown, upright and with square pixels.
        width: The same.
        interlaced: Whether the frame consists of two fields, taken one after the other.
        aspect: Width of a stored pixel by its height.
        turn: How it becomes upright.
        tone: Its colours.
    """

    height: int
    width: int
    interlaced: bool = False
    aspect: Fraction = Fraction(1)
    turn: Turn = UPRIGHT
    tone: Tone = PLAIN


class Screen:
    """Shows the frames of one stream.

    Args:
        path: Its file, for messages.
        aspect: Width of a stored pixel by its height, see `find_aspect`.
        size: Height and width that all frames have as shown; None takes those of the first.
    """

    def __init__(self, path: Path, aspect: Fraction, size: tuple[int, int] | None = None) -> None:
        self._path = path
        self._aspect = aspect
        self._size = size
        self._turns: dict[int, Turn] = {}
        self._toner: tuple[tuple[Any, ...], Graph] | None = None

    def look(self, frame: VideoFrame) -> Look:
        """How a frame is shown.

        Raises:
            MediaError: When it is too large, or its colours cannot be known.
        """
        width, height = _square(frame.width, frame.height, self._aspect)
        check_frame_size(self._path, frame.width, frame.height)
        check_frame_size(self._path, width, height)
        if int(frame.colorspace) == _DOLBY_IPT:
            raise MediaError(
                "The colours of the video are Dolby Vision's own (profile 5), which only its makers can read.",
                received=self._path,
                expected="a video in SDR, HLG or PQ (HDR10)",
                fix="export it as HDR10 or SDR",
            )
        if frame.rotation not in self._turns:
            self._turns[frame.rotation] = _find_turn(frame)
        turn = self._turns[frame.rotation]
        size = (width, height) if turn.exchange else (height, width)
        return Look(*size, bool(frame.interlaced_frame), self._aspect, turn, find_tone(frame))

    def show(self, frame: VideoFrame, before: VideoFrame | None = None, after: VideoFrame | None = None) -> Pixels:
        """The pixels of a frame, uint8 [H, W, 3].

        Args:
            frame: What is shown.
            before: The frame that shows before it, which an interlaced one needs; None for the first.
            after: The frame that shows after it, the same; None for the last.

        Raises:
            MediaError: When frames have other sizes than the first had, are too large, or cannot be known.
        """
        look = self.look(frame)
        size = look.height, look.width
        self._size = self._size or size
        if self._size != size:
            raise MediaError(
                "The size of the frames changes within the video.",
                received=f"{self._path}: {self._size[1]}x{self._size[0]}, then {size[1]}x{size[0]}",
                expected="frames of one size",
                fix="cut it where the size changes, or encode it at one size",
            )
        if look.interlaced:
            frame = deinterlace(frame, before, after)
        if not look.tone.plain:
            frame = self._tone(frame, look.tone)
        pixels = _to_rgb(frame, _square(frame.width, frame.height, self._aspect))
        return pixels if look.turn == UPRIGHT else _contiguous(look.turn.apply(pixels))

    def _tone(self, frame: VideoFrame, tone: Tone) -> VideoFrame:
        """The colours that an SDR screen shows; alpha is lost, which HDR files do not have."""
        frame = frame.reformat(format="gbrp16le")
        key = (frame.width, frame.height, tone)
        if self._toner is None or self._toner[0] != key:
            self._toner = key, _build_toner(frame, tone)
        graph = self._toner[1]
        graph.push(frame)
        return cast("VideoFrame", graph.pull())


def find_aspect(stream: VideoStream) -> Fraction:
    """Width of a stored pixel by its height."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT else Fraction(1)


def deinterlace(frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None) -> VideoFrame:
    """The whole picture at the time of a frame's first field, from it and its neighbours (None at the ends).

    It depends on these three alone, so that a frame is the same whether it is read in a row or on its own.
    """
    name, _, options = DEINTERLACE.partition("=")
    graph = _build_graph(frame, name, options)
    given = [one for one in (before, frame, after) if one is not None and _alike(one, frame)]
    shown: list[Any] = []
    for one in (*given, None):
        graph.push(one)
        while True:
            try:
                shown.append(graph.pull())
            except (BlockingIOError, EOFError):
                break
    return shown[given.index(frame)]


def _alike(one: VideoFrame, other: VideoFrame) -> bool:
    return (one.width, one.height, one.format.name) == (other.width, other.height, other.format.name)


def _build_toner(frame: VideoFrame, tone: Tone) -> Graph:
    with tempfile.TemporaryDirectory(prefix="easyanimate-") as folder:
        table = Path(folder, "tone.cube")
        table.write_text(format_table(tone), encoding="ascii")
        return _build_graph(frame, "lut3d", file=str(table))


def _build_graph(frame: VideoFrame, name: str, options: str | None = None, **settings: str) -> Graph:
    """A graph of one filter for frames like this one."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    for one, following in pairwise([source, graph.add(name, options, **settings), graph.add("buffersink")]):
        one.link_to(following)
    graph.configure()
    return graph


def _to_rgb(frame: VideoFrame, size: tuple[int, int]) -> Pixels:
    """Pixels at a width and height; what is transparent lies on black."""
    import numpy as np

    shape: dict[str, Any] = {}
    if size != (frame.width, frame.height):
        shape = {"width": size[0], "height": size[1], "interpolation": "BICUBIC"}
    layout = frame.format
    if not (layout.has_palette or any(component.is_alpha for component in layout.components)):
        return cast("Pixels", frame.to_ndarray(format="rgb24", **shape))
    rgba = cast("Pixels", frame.to_ndarray(format="rgba", **shape))
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if (alpha == 255).all():  # noqa: PLR2004 (opaque)
        return _contiguous(colour)
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _square(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height with square pixels: the height stays."""
    return max(round(width * aspect), 1), height


def _find_turn(frame: VideoFrame) -> Turn:
    """By its display matrix.

    It is asked of a copy: PyAV ties a frame to its side data in a circle, so that it lives until the collector comes.
    If that is after a fork, the threads that converted it are gone, and freeing them never ends.
    """
    from av.sidedata.sidedata import Type

    graph = _build_graph(frame, "null")
    graph.push(frame)
    matrix = cast("VideoFrame", graph.pull()).side_data.get(cast("Any", Type.DISPLAYMATRIX))
    return UPRIGHT if matrix is None else Turn.from_matrix(bytes(matrix))


def _contiguous(pixels: Pixels) -> Pixels:
    import numpy as np

    return np.ascontiguousarray(pixels)
