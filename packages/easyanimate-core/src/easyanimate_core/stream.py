"""Opens the video of a file and decodes it frame by frame, within limits."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# PyAV and NumPy leave some of their types open.

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from easyanimate_core.errors import MediaError
from easyanimate_core.media import Deadline, reading
from easyanimate_core.picture import MAX_FRAME_PIXELS, Screen, check_frame_size, find_aspect
from easyanimate_core.rate import MAX_RATE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

    Pixels = npt.NDArray[np.uint8]

_ASF_ROUNDING = 0.05
"""Share by which a rate may be off that was found from milliseconds."""


@contextmanager
def open_video(path: Path) -> Generator[InputContainer]:
    """Open a file that has a video stream, for reading with PyAV.

    Raises:
        MediaError: When the file is missing, cannot be decoded (in the body, too) or has no video; when its frames are
            too large.
    """
    import av

    # The prefix keeps FFmpeg from taking a name with a colon for an address, and the option from following one.
    options = {"protocol_whitelist": "file"}
    with reading(path), av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
        if container.format.name in ("concat", "hls", "dash", "imf"):
            raise MediaError("The file is a list of other files.", received=path, expected="a video or image file")
        stream = find_stream(container, path)
        context = stream.codec_context
        check_frame_size(path, context.width, context.height)
        context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}  # for what comes later in the stream
        yield container


def find_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is no cover picture of a sound file.

    Raises:
        MediaError: When there is none.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError("The file has no video.", received=path)


def decode(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Decode all frames of a stream, within `MAX_SECONDS` for what lies between two of them."""
    if not stream.codec_context.is_open:
        stream.thread_type = "AUTO"
    deadline = Deadline(path)
    for packet in container.demux(stream):
        deadline.check()
        yield from packet.decode()


def neighbours(frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame | None, VideoFrame, VideoFrame | None]]:
    """Each frame with the one before and the one after it."""
    before: VideoFrame | None = None
    frame: VideoFrame | None = None
    for after in frames:
        if frame is not None:
            yield before, frame, after
            before = frame
        frame = after
    if frame is not None:
        yield before, frame, None


def find_rate(stream: VideoStream) -> float | None:
    """Frames per second by a file's own word; None when it has none, or one that cannot be."""
    fps, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    # ASF counts milliseconds, of which FFmpeg takes the mean of too few: 62.5 for 60.
    milliseconds = "asf" in stream.container.format.name and abs(fps - guessed) < _ASF_ROUNDING * guessed
    fps = guessed if milliseconds else fps or guessed
    return fps if 0 < fps <= MAX_RATE else None


def has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file tells when its frames show.

    AVI and ASF tell in which order they are decoded; what FFmpeg guesses from that is wrong for codecs that reorder.
    """
    named = container.format.name
    return not (("avi" in named or "asf" in named) and stream.codec_context.codec.reorder)


def read_first_frame(path: Path) -> Pixels:
    """The first frame of a file, uint8 [H, W, 3], as `read_video` shows it."""
    with open_video(path) as container:
        stream = find_stream(container, path)
        for frame in container.decode(stream):
            return Screen(path, find_aspect(stream)).show(frame)
    raise MediaError("The video has no frames.", received=path)
