"""Reads and writes videos as uint8 arrays, and carries a run's manifest inside the files.

Axes: T frames, H height, W width, 3 red, green, blue.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# PyAV and NumPy leave some of their types open.

from __future__ import annotations

import json
import math
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from easyanimate_core.errors import MediaError
from easyanimate_core.image import open_image, read_image, read_mask_image, read_text, write_image
from easyanimate_core.media import VIDEO_SUFFIXES, Deadline, check_memory, reading, writing
from easyanimate_core.picture import Screen, check_frame_size, find_aspect
from easyanimate_core.rate import MAX_RATE, RATE_LIMIT, constant_rate, resample
from easyanimate_core.request import Video
from easyanimate_core.stream import decode, find_rate, find_stream, has_times, neighbours, open_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from av import VideoStream
    from av.container import InputContainer

    Pixels = npt.NDArray[np.uint8]

__all__ = [
    "VIDEO_SUFFIXES",
    "read_embedded",
    "read_image",
    "read_mask",
    "read_video",
    "write_image",
    "write_video",
]

_DECORD_CODECS = frozenset({"h264", "vp9"})
_SEEK_SECONDS = 5.0
"""A start that is further on is sought."""


def read_video(  # noqa: PLR0913 (what may be asked of a video)
    path: Path,
    *,
    reader: Literal["pyav", "decord"] = "pyav",
    max_frames: int | None = None,
    start: float = 0.0,
    fps: float | None = None,
    transform: Callable[[Pixels], Pixels] | None = None,
) -> Video:
    """Read a video as it is meant to be seen, at a constant frame rate.

    Frames are upright (rotated and mirrored as the file says), with square pixels, deinterlaced, HDR tone mapped to
    BT.709 (see `tone.py`), and lie on black where they are transparent. Where they come at irregular times, they are
    repeated or dropped so that each shows at its time.

    Args:
        path: The file.
        reader: "pyav", or "decord" for plain H.264 and VP9 (it gives wrong frames for others, which are refused).
        max_frames: Stop after so many frames; None reads all that `MAX_CLIP_BYTES` has room for.
        start: Seconds from the first frame at which to begin.
        fps: Frames per second of the result: for each the nearest in time is taken. None keeps the file's own rate.
        transform: Applied to each frame [H, W, 3] as soon as it is read; shrinking saves memory.

    Raises:
        MediaError: When the file is missing, cannot be decoded, has no frames (from `start` on), changes its size,
            takes longer than `MAX_SECONDS` or more memory than `MAX_CLIP_BYTES`.
    """
    wanted = _Wanted(max_frames, start, fps)
    frames, rate = _read(path, wanted, transform or _as_is, reader)
    return Video(frames, rate)


def read_mask(path: Path, *, max_frames: int | None = None, start: float = 0.0, fps: float | None = None) -> Pixels:
    """Read an image or a video as a mask, uint8 [T or 1, H, W]: 255 where it is bright (at least half), else 0.

    Of an image with transparent parts, see `read_mask_image`. The other arguments are those of `read_video`.
    """
    if not is_moving(path):
        return read_mask_image(path)[None]
    return _read(path, _Wanted(max_frames, start, fps), _find_bright, "pyav")[0]


def is_moving(path: Path) -> bool:
    """Whether a file is read as a video: by its ending; WebP, PNG and AVIF by how many pictures they hold."""
    from PIL import UnidentifiedImageError

    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    with reading(path):
        try:
            with open_image(path) as image:
                # MPO, TIFF and others hold several pictures, but no film.
                return image.format in ("WEBP", "PNG", "AVIF", "GIF") and getattr(image, "is_animated", False)
        except UnidentifiedImageError:
            return False


def write_video(path: Path, video: Video, *, manifest: Mapping[str, Any] | None = None, crf: int = 16) -> Path:
    """Write H.264 in mp4 that every player shows (yuv420p, BT.709), with the manifest inside.

    An odd height or width grows by one repeated line, because yuv420p has even sizes only.

    Args:
        path: Ends in .mp4; the folder is made when missing.
        video: The clip.
        manifest: JSON-able mapping to embed, such as `Manifest.to_json()`.
        crf: Quality of x264: 0 is lossless in yuv, 16 hardly visible loss, 51 the worst.

    Returns:
        The path.

    Raises:
        MediaError: When the file cannot be written.
    """
    if path.suffix.lower() != ".mp4":
        raise MediaError("A video is written as mp4.", received=path.name, expected="a name that ends in .mp4")
    with writing(path) as part:
        _encode(part, video, {"comment": json.dumps(manifest)} if manifest is not None else {}, crf)
    return path


def read_embedded(path: Path) -> dict[str, Any] | None:
    """Read the manifest that `write_video` or `write_image` embedded; None when there is none.

    Raises:
        MediaError: When the file cannot be read at all.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with open_video(path) as container:
            text = container.metadata.get("comment")
    else:
        text = read_text(path)
    try:
        embedded: object = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None  # somebody else's comment
    return cast("dict[str, Any]", embedded) if isinstance(embedded, dict) else None


class _SeekError(Exception):
    """The file has to be read from its beginning."""


class _Wanted:
    """Which frames are asked for.

    Args:
        max_frames: The most; None is no limit.
        start: Seconds from the first frame.
        fps: Frames per second; None keeps the file's.
    """

    def __init__(self, max_frames: int | None, start: float, fps: float | None) -> None:
        if max_frames is not None and max_frames < 1:
            raise MediaError("At least one frame must be read.", received=max_frames, expected="1 or more, or None")
        if not 0 <= start < math.inf:
            raise MediaError("A start lies within the video.", received=start, expected="seconds, 0 or more")
        if fps is not None and not 0 < fps <= MAX_RATE:
            raise MediaError("There is no such rate.", received=fps, expected=f"above 0, up to {MAX_RATE:g}")
        self.max_frames = max_frames
        self.start = start
        self.fps = fps

    def skip(self, rate: float, origin: float) -> int:
        """Ticks of the file's rate before the first that is wanted; `origin` is the time of the first frame read."""
        return round((self.start - origin) * rate)

    def count(self, rate: float) -> float:
        """Ticks of the file's rate that are wanted."""
        if self.max_frames is None:
            return math.inf
        return math.ceil(self.max_frames * (rate / self.fps if self.fps else 1))

    def choose(self, total: int, rate: float) -> Sequence[int]:
        """Of all ticks of the file's rate from the first that is wanted on, those to show."""
        if total < 1:
            return ()
        ticks = range(total) if self.fps is None else resample(total, rate, self.fps)
        return ticks[: self.max_frames]


class _Shown(NamedTuple):
    """A frame of a file: when it comes, in seconds from the file's first, and what gives its pixels."""

    time: float
    show: Callable[[], Pixels]


def _read(path: Path, wanted: _Wanted, transform: Callable[[Pixels], Pixels], reader: str) -> tuple[Pixels, float]:
    if _is_pillow_film(path):
        with reading(path), open_image(path) as image:
            shown, rate = _list_pictures(image, path)
            return _collect(path, shown, rate, wanted, transform)
    if reader == "decord":
        with open_video(path) as container:
            check_decord(container, find_stream(container, path), path)
        return _read_decord(path, wanted, transform)
    if wanted.start > _SEEK_SECONDS:
        with suppress(_SeekError), open_video(path) as container:
            return _read_pyav(container, path, wanted, transform, seek=True)
    with open_video(path) as container:
        return _read_pyav(container, path, wanted, transform)


def _read_pyav(
    container: InputContainer,
    path: Path,
    wanted: _Wanted,
    transform: Callable[[Pixels], Pixels],
    *,
    seek: bool = False,
) -> tuple[Pixels, float]:
    stream = find_stream(container, path)
    rate = find_rate(stream) or 1.0  # a still image has no rate
    shown = _show_all(container, stream, path, rate, wanted.start if seek else None)
    return _collect(path, shown, rate, wanted, transform)


def _collect(
    path: Path, shown: Iterable[_Shown], rate: float, wanted: _Wanted, transform: Callable[[Pixels], Pixels]
) -> tuple[Pixels, float]:
    """The frames that are wanted, [T, ...], and their rate."""
    deadline = Deadline(path)
    times: list[float] = []
    kept: dict[int, Pixels] = {}
    earlier: _Shown | None = None
    num_bytes = skipped = 0
    enough = wanted.count(rate)

    def keep(index: int, show: Callable[[], Pixels]) -> None:
        nonlocal num_bytes
        kept[index] = transform(show())
        num_bytes += kept[index].nbytes
        check_memory(path, num_bytes)

    for item in shown:
        deadline.check()
        if not times:
            skipped = wanted.skip(rate, item.time)
        times.append(item.time)
        ticks = (item.time - times[0]) * rate - skipped
        if ticks <= -1:
            earlier = item  # what shows at the start may have come long before
            continue
        if not kept and earlier is not None:
            keep(len(times) - 2, earlier.show)
        keep(len(times) - 1, item.show)
        if len(times) >= skipped + enough and ticks >= enough - 1.5:
            break
    if not times:
        raise MediaError("The video has no frames.", received=path)
    order = constant_rate(times, rate, None if math.isinf(enough) else skipped + int(enough), path)
    chosen = wanted.choose(len(order) - skipped, rate)
    if not chosen:
        raise MediaError(
            "The video has ended where the clip starts.",
            received=f"{path}: {times[0] + len(order) / rate:g} seconds, start {wanted.start:g}",
            expected="a start before its end",
        )
    return _stack(path, [order[skipped + tick] for tick in chosen], kept), wanted.fps or rate


def _stack(path: Path, indices: Sequence[int], kept: dict[int, Pixels]) -> Pixels:
    """The frames with these rising indices as one array. Each is let go as soon as it is copied: they fill memory."""
    import numpy as np

    first = kept[indices[0]]
    check_memory(path, first.nbytes * len(indices))
    frames = np.empty((len(indices), *first.shape), np.uint8)
    for place, index in enumerate(indices):
        frames[place] = kept[index]
        if place + 1 < len(indices) and indices[place + 1] != index:
            del kept[index]
    return frames


def _show_all(
    container: InputContainer, stream: VideoStream, path: Path, rate: float, seek: float | None
) -> Iterator[_Shown]:
    """All frames in the order in which they show, from the first or from one before `seek` seconds on.

    Raises:
        _SeekError: When a frame before that cannot be found.
    """
    screen = Screen(path, find_aspect(stream))
    timed = has_times(container, stream)
    frames = decode(container, stream, path)
    first: float | None = None
    newest = -1 / rate
    if seek is not None:
        opening = next(frames, None)
        if opening is None or opening.pts is None or stream.time_base is None or not timed:
            raise _SeekError
        first = opening.time
        from av.error import FFmpegError

        try:
            container.seek(int((first + seek - 1) / stream.time_base), stream=stream)
        except FFmpegError:
            raise _SeekError from None
        # Until a key frame comes, frames refer to others that are missing.
        frames = dropwhile(lambda frame: not frame.key_frame, decode(container, stream, path))
    for before, frame, after in neighbours(frames):
        time = newest + 1 / rate
        if timed and frame.pts is not None:
            first = frame.time if first is None else first
            if frame.time - first > newest:  # times that go back say nothing
                time = frame.time - first
        if seek is not None and before is None and time > seek - 1 / rate:
            raise _SeekError
        newest = time
        yield _Shown(time, partial(screen.show, frame, before, after))


def check_decord(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Refuse what decord reads wrongly without saying so. The stream is at its beginning, and is read from.

    Raises:
        MediaError: For codecs other than H.264 and VP9, MPEG-TS, and frames that are not shown as they are stored, but
            for a rotation.
    """
    codec = stream.codec_context.name
    plain, received = codec in _DECORD_CODECS and "mpegts" not in container.format.name, ""
    if plain:
        screen = Screen(path, find_aspect(stream))
        look = next((screen.look(frame) for frame in container.decode(stream)), None)
        if look is not None:
            turn = look.turn
            unlike = {
                "interlaced": look.interlaced,
                "pixels that are not square": look.aspect != 1,
                "HDR or wide colours": not look.tone.plain,
                "mirrored": turn.rows ^ turn.columns ^ turn.exchange,
            }
            received = ", ".join(name for name, found in unlike.items() if found)
    if not plain or received:
        raise MediaError(
            f"decord gives wrong frames for this kind of file: {path}",
            received=received or f"{codec} in {container.format.name}",
            expected="H.264 or VP9, progressive, SDR, with square pixels, not in an MPEG transport stream",
            fix="read it with pyav",
        )


def _read_decord(path: Path, wanted: _Wanted, transform: Callable[[Pixels], Pixels]) -> tuple[Pixels, float]:
    try:
        from decord import VideoReader  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ImportError as error:
        raise MediaError(
            "The reader decord is not installed.",
            received="reader decord",
            expected="pyav, or decord where it is installed",
            fix="pip install decord, or read with pyav",
        ) from error
    reader: Any = VideoReader(str(path))
    rate = float(reader.get_avg_fps())

    def show(index: int) -> Pixels:
        return reader[index].asnumpy()

    shown = (_Shown(index / rate, partial(show, index)) for index in range(len(reader)))
    return _collect(path, shown, rate, wanted, transform)


def _is_pillow_film(path: Path) -> bool:
    """Whether it is a WebP or AVIF that moves, of which FFmpeg reads nothing or a part."""
    return path.suffix.lower() not in VIDEO_SUFFIXES and is_moving(path)


def _list_pictures(image: Any, path: Path) -> tuple[Iterator[_Shown], float]:
    """The pictures of a film that Pillow reads, on black, and how many come per second on average."""
    import numpy as np

    check_frame_size(path, image.width, image.height)
    deadline = Deadline(path)

    def show(index: int) -> Pixels:
        image.seek(index)
        picture = np.asarray(image.convert("RGBA"), np.uint16)
        return ((picture[..., :3] * picture[..., 3:] + 127) // 255).astype(np.uint8)

    def run() -> Iterator[_Shown]:
        time = 0.0
        for index in range(image.n_frames):
            yield _Shown(time, partial(show, index))
            time += durations[index]

    durations: list[float] = []
    for index in range(image.n_frames):
        deadline.check()
        image.seek(index)
        image.load()
        durations.append((image.info.get("duration") or 100) / 1000)
    return run(), len(durations) / sum(durations)


def _find_bright(pixels: Pixels) -> Pixels:
    return cast("Pixels", (pixels.max(axis=-1) >= 128) * pixels.dtype.type(255))  # noqa: PLR2004 (half of 255)


def _as_is(pixels: Pixels) -> Pixels:
    return pixels


def _encode(path: Path, video: Video, metadata: Mapping[str, str], crf: int) -> None:
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace

    num_frames, height, width, _ = video.frames.shape
    even = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    rate = Fraction(video.fps).limit_denominator(RATE_LIMIT)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update(metadata)
        # x264's macroblock tree reads beyond its rows unless the width is a multiple of 128: the same frames would
        # give another file each time.
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "mbtree": "0"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        # All four tags, so that every player takes the same matrix; 1 means BT.709.
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = int(Colorspace.ITU709), 1, 1
        context.color_range = int(ColorRange.MPEG)
        for index in range(num_frames):
            pixels = np.pad(video.frames[index], even[1:], mode="edge")
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
