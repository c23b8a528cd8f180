"""Reads and writes videos and images as uint8 arrays, and carries a run's manifest inside the files.

Axes: T frames, H height, W width, 3 red, green, blue.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# PyAV and NumPy leave some of their types open.

from __future__ import annotations

import json
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError
from easyanimate_core.request import Video

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

    Pixels = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".gif"})
"""File endings that are read as a video; everything else is taken for an image."""

MANIFEST_KEY = "easyanimate"
"""Name of the PNG text chunk; an mp4 file has the manifest as its comment, which other tools keep on copying."""

_DECORD_CODECS = frozenset({"h264", "vp9"})
_FPS_LIMIT = 1001  # the denominator of the broadcast rates, such as 30000/1001


def read_video(path: Path, *, reader: Literal["pyav", "decord"] = "pyav", max_frames: int | None = None) -> Video:
    """Read a video, upright and at a constant frame rate.

    A rotation tag is applied. Where the frames come at irregular times, they are repeated or dropped so that each
    shows at its time.

    Args:
        path: The file.
        reader: "pyav", or "decord" for H.264 and VP9 (it gives wrong frames for other codecs).
        max_frames: Stop after so many frames; None reads all.

    Raises:
        MediaError: When the file is missing, cannot be decoded or has no frames.
    """
    if max_frames is not None and max_frames < 1:
        raise MediaError("At least one frame must be read.", received=max_frames, expected="1 or more, or None")
    with open_video(path) as container:
        stream = container.streams.video[0]
        if reader == "decord":
            check_decord(container, stream, path)
            return _read_decord(path, max_frames)
        return _read_pyav(container, stream, path, max_frames)


@contextmanager
def open_video(path: Path) -> Generator[InputContainer]:
    """Open a file that has a video stream, for reading with PyAV.

    Raises:
        MediaError: When the file is missing, cannot be decoded (in the body, too) or has no video.
    """
    import av

    with _reading(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise MediaError("The file has no video.", received=path)
        yield container


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
    with _writing(path) as part:
        _encode(part, video, {"comment": json.dumps(manifest)} if manifest is not None else {}, crf)
    return path


def read_image(path: Path) -> Pixels:
    """Read an image as uint8 [H, W, 3], upright by its EXIF orientation; transparent parts are black.

    Raises:
        MediaError: When the file is missing or is not an image.
    """
    import numpy as np
    from PIL import Image, ImageOps

    with _reading(path), Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
        elif upright.mode.startswith(("I;16", "I")):
            # 16-bit grey; Pillow would cut everything above 255 off.
            return np.repeat((np.asarray(upright, np.uint32) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
        return np.asarray(upright.convert("RGB"), np.uint8).copy()


def write_image(path: Path, frame: Pixels, *, manifest: Mapping[str, Any] | None = None) -> Path:
    """Write uint8 [H, W, 3] as PNG, with the manifest in a text chunk.

    Raises:
        MediaError: When the name does not end in .png or the file cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if path.suffix.lower() != ".png":
        raise MediaError("An image is written as PNG.", received=path.name, expected="a name that ends in .png")
    info = PngInfo()
    if manifest is not None:
        info.add_text(MANIFEST_KEY, json.dumps(manifest))
    with _writing(path) as part:
        Image.fromarray(frame).save(part, format="PNG", pnginfo=info)
    return path


def read_mask(path: Path) -> Pixels:
    """Read an image or a video as a mask, uint8 [T or 1, H, W]: 255 where it is bright (at least half), else 0."""
    frames = read_video(path).frames if path.suffix.lower() in VIDEO_SUFFIXES else read_image(path)[None]
    return cast("Pixels", (frames.max(axis=-1) >= 128) * frames.dtype.type(255))  # noqa: PLR2004 (half of 255)


def read_embedded(path: Path) -> dict[str, Any] | None:
    """Read the manifest that `write_video` or `write_image` embedded; None when there is none.

    Raises:
        MediaError: When the file cannot be read at all.
    """
    text: object = None
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with open_video(path) as container:
            text = container.metadata.get("comment")
    else:
        from PIL import Image

        with _reading(path), Image.open(path) as image:
            text = image.info.get(MANIFEST_KEY)
    try:
        embedded: object = json.loads(text) if isinstance(text, str) else None
    except json.JSONDecodeError:
        return None  # somebody else's comment
    return cast("dict[str, Any]", embedded) if isinstance(embedded, dict) else None


def _read_pyav(container: InputContainer, stream: VideoStream, path: Path, max_frames: int | None) -> Video:
    import numpy as np

    stream.thread_type = "AUTO"
    fps = float(stream.average_rate or stream.guessed_rate or 0) or 1.0  # a still image has no rate
    frames: list[Pixels] = []
    times: list[float] = []
    timed = has_times(container, stream)
    for frame in container.decode(stream):
        times.append(frame.time if timed and frame.pts is not None else len(times) / fps)
        frames.append(upright(frame))
        if max_frames is not None and len(frames) >= max_frames and (times[-1] - times[0]) * fps >= max_frames - 1.5:
            break
    if not frames:
        raise MediaError("The video has no frames.", received=path)
    order = constant_rate(times, fps)[:max_frames]
    return Video(np.stack([frames[index] for index in order]), fps)


def has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file tells when its frames show: AVI does not, and what FFmpeg guesses for these codecs is wrong."""
    return not ("avi" in container.format.name and stream.codec_context.name in ("h264", "hevc"))


def constant_rate(times: Sequence[float], fps: float) -> list[int]:
    """Index of the frame to show at each tick of a constant rate.

    Args:
        times: Rising presentation times of the frames, in seconds.
        fps: Ticks per second.

    Returns:
        0, 1, 2, ... where the frames come evenly already; else, for each tick from the first frame to the last, the
        newest frame that has come by the middle of the tick.
    """
    import numpy as np

    stamps = np.asarray(times, np.float64) - times[0]
    steps = np.diff(stamps)
    # Containers round times to a millisecond and more: a quarter of the usual step is no irregularity.
    if len(steps) == 0 or np.all(np.abs(steps - np.median(steps)) <= np.median(steps) / 4):
        return list(range(len(times)))
    middles = (np.arange(round(stamps[-1] * fps) + 1) + 0.5) / fps
    return [int(count) - 1 for count in np.searchsorted(stamps, middles)]


def upright(frame: VideoFrame) -> Pixels:
    """Pixels of a frame, turned by its rotation tag (degrees counterclockwise)."""
    import numpy as np

    pixels = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return cast("Pixels", np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels)


def check_decord(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Refuse what decord reads wrongly without saying so."""
    codec = stream.codec_context.name
    if codec not in _DECORD_CODECS or "mpegts" in container.format.name:
        raise MediaError(
            f"decord gives wrong frames for this kind of file: {path}",
            received=f"{codec} in {container.format.name}",
            expected="H.264 or VP9, not in an MPEG transport stream",
            fix="read it with pyav",
        )


def _read_decord(path: Path, max_frames: int | None) -> Video:
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
    count = min(len(reader), max_frames or len(reader))
    return Video(reader.get_batch(list(range(count))).asnumpy(), float(reader.get_avg_fps()))


def _encode(path: Path, video: Video, metadata: Mapping[str, str], crf: int) -> None:
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace

    num_frames, height, width, _ = video.frames.shape
    even = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    rate = Fraction(video.fps).limit_denominator(_FPS_LIMIT)
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


@contextmanager
def _reading(path: Path) -> Generator[None]:
    """Turn what goes wrong while reading into `MediaError`."""
    from av.error import FFmpegError

    if not path.is_file():
        raise MediaError("There is no such file.", received=path, expected="a video or image file")
    try:
        yield
    except (FFmpegError, OSError, ValueError, SyntaxError) as error:
        raise MediaError(
            f"The file cannot be read: {_reason(error)}", received=path, expected="a video or image that is whole"
        ) from error


@contextmanager
def _writing(path: Path) -> Generator[Path]:
    """Give a temporary path that becomes `path`; turn what goes wrong into `MediaError`."""
    from av.error import FFmpegError

    try:
        with atomic_path(path) as part:
            yield part
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"The file cannot be written: {_reason(error)}",
            received=path,
            fix="choose a folder that can be written and has space: --output",
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
