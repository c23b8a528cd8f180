"""Cuts a piece out of a video, frame by frame as the reader gives them, and encodes it anew."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av import VideoFrame
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace
from easyanimate_core.errors import MediaError
from easyanimate_core.picture import UPRIGHT
from easyanimate_core.rate import RATE_LIMIT, constant_rate, resample
from easyanimate_core.stream import open_video

from easyanimate_data.preparation.sound import SoundError, SoundWriter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from easyanimate_data.frames import FrameCursor, Frames
    from easyanimate_data.timeline import Timeline

CLOCK = Fraction(1, 90000)
"""Unit of time, in seconds, of clips whose frames come at irregular times: MPEG's."""

ROUNDING_SECONDS = 1e-5
"""What bounds of scenes may be off, because they are rounded to a microsecond."""

DAMAGE_SECONDS = 0.1
"""What of a clip may be missing, beside a frame and a half; decoders patch up what is damaged."""

_X264 = {"preset": "veryfast", "crf": "22", "mbtree": "0"}  # why without mbtree: see easyanimate_core.video
_BT709 = 1  # of primaries and of transfer (ITU-T H.273)
_MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}


@dataclass(frozen=True)
class Cut:
    """Which frames a clip has, and when each shows.

    Args:
        positions: Indices into the timeline's stamps, not falling; a frame may be there more than once.
        times: When each shows, in units of `unit` from the start of the clip.
        unit: Seconds.
        rate: Frames a second; for frames at irregular times the mean.
        start: Where the clip begins, in seconds from the first frame of the source.
        seconds: How long it is.
    """

    positions: tuple[int, ...]
    times: tuple[int, ...]
    unit: Fraction
    rate: Fraction
    start: float
    seconds: float


def plan_cut(timeline: Timeline, start: float, end: float, fps: float | None = None) -> Cut:
    """The frames that begin to show from `start` on and before `end`.

    Args:
        timeline: Of the source.
        start: In seconds from its first frame.
        end: The same; a frame of this time is the first that is not taken.
        fps: The rate of the clip: at each tick of it the frame that is nearest in time, as
            `easyanimate_core.rate.resample` has it. None keeps all frames and their times.

    Raises:
        MediaError: When no frame begins to show in that time.
    """
    times = timeline.times
    first, last = (int(index) for index in np.searchsorted(times, (start - ROUNDING_SECONDS, end - ROUNDING_SECONDS)))
    if first >= last:
        raise MediaError("There is no frame in this time.", received=f"{start:.2f} to {end:.2f} s")
    begin = float(times[first])
    seconds = (float(times[last]) if last < len(times) else float(times[-1]) + 1 / timeline.fps) - begin
    rate = Fraction(timeline.fps).limit_denominator(RATE_LIMIT)
    if fps is None and not timeline.even:
        ticks = np.round((times[first:last] - begin) / float(CLOCK)).astype(int).tolist()
        return Cut(tuple(range(first, last)), tuple(ticks), CLOCK, rate, begin, seconds)
    positions = [first + index for index in constant_rate((times[first:last]).tolist(), timeline.fps)]
    if fps is not None:
        positions = [positions[index] for index in resample(len(positions), timeline.fps, fps)]
        rate = Fraction(fps).limit_denominator(RATE_LIMIT)
    return Cut(tuple(positions), tuple(range(len(positions))), 1 / rate, rate, begin, seconds)


def cut_clip(cursor: FrameCursor, cut: Cut, out: Path) -> dict[str, Any]:
    """Write the frames of a cut as H.264 (veryfast, crf 22), with the sound of that time as AAC.

    Interlaced frames become whole ones. What is then yuv420p, upright, in SDR and of square pixels is encoded as it is
    stored; everything else as `easyanimate_core.picture.Screen` shows it, in BT.709. An odd last row or column goes,
    because yuv420p has even sizes only. The same input gives the same file: one thread, no dates.

    Args:
        cursor: On the source.
        cut: What of it.
        out: The file, which ends in .mp4.

    Returns:
        Columns of the table. `sound`: "kept", or why it was lost (a track that cannot be decoded or coded); None where
        the source has none. `deinterlaced`: whether a frame was interlaced.

    Raises:
        MediaError: When the source is damaged there, changes its size, or the clip cannot be encoded.
        OSError: When the disk is full.
    """
    try:
        return _write(cursor, cut, out, sound=True)
    except SoundError as error:
        return _write(cursor, cut, out, sound=False) | {"sound": f"lost: {error.message}"}
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise  # such as a full disk
        raise MediaError("A clip cannot be encoded.", received=f"{cursor.path}: {error.strerror}") from error


def _write(cursor: FrameCursor, cut: Cut, out: Path, *, sound: bool) -> dict[str, Any]:
    frames = _FrameReader(cursor, cut)
    with open_video(cursor.path) as source, av.open(str(out), "w", format="mp4", options=_MP4) as target:
        stream: Any = target.add_stream("libx264", rate=cut.rate, options=_X264)
        track: SoundWriter | None = None
        if sound and source.streams.audio:
            track = SoundWriter(target, source, start=cursor.timeline.origin + cut.start, seconds=cut.seconds)
        for index, frame in enumerate(frames.read()):
            if index == 0:
                _set_up(stream, frame, cut)
            target.mux(stream.encode(frame))
            if track is not None:
                target.mux(list(track.write(until=float((frame.pts or 0) * cut.unit))))
        target.mux(stream.encode(None))
        if track is not None:
            target.mux(list(track.write()))
    return {"sound": None if track is None else "kept", "deinterlaced": frames.deinterlaced}


def _set_up(stream: Any, frame: VideoFrame, cut: Cut) -> None:
    """Size, colours and clock of a clip, from its first frame."""
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    context.time_base, context.thread_count = cut.unit, 1
    context.colorspace, context.color_range = frame.colorspace, frame.color_range
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.flags |= Flags.bitexact


class _FrameReader:
    """Reads the frames of a cut as they are encoded."""

    def __init__(self, cursor: FrameCursor, cut: Cut) -> None:
        self.deinterlaced = False
        self._cursor = cursor
        self._cut = cut
        self._missing: set[int] = set()

    def read(self) -> Generator[VideoFrame]:
        """The frames with their times in the clip.

        Raises:
            MediaError: When too many are missing, or their size changes.
        """
        cut = self._cut
        known, frame = -1, None
        for position, time in zip(cut.positions, cut.times, strict=True):
            if position != known:
                known, frame = position, self._find(position)
            if frame is not None:
                frame.pts, frame.time_base = time, cut.unit
                frame.pict_type = PictureType.NONE  # x264 would take those of the source for its own
                yield frame
        if len(self._missing) == len(set(cut.positions)):
            raise self._describe_damage()

    def _find(self, position: int) -> VideoFrame | None:
        """A frame; None where it cannot be decoded, which a few may."""
        try:
            stored = self._cursor.find(position)
        except MediaError as error:
            self._missing.add(position)
            if len(self._missing) > DAMAGE_SECONDS * self._cut.rate + 1.5:
                raise self._describe_damage() from error
            return None
        self.deinterlaced |= bool(stored.interlaced_frame)
        look = self._cursor.timeline.look
        odd = stored.width % 2 or stored.height % 2
        plain = look.tone.plain and look.turn == UPRIGHT and look.aspect == 1 and not odd
        if plain and stored.format.name == "yuv420p" and (stored.height, stored.width) == (look.height, look.width):
            return self._cursor.find_whole(position)
        return _encode_shown(self._cursor.show(position))

    def _describe_damage(self) -> MediaError:
        cut, num = self._cut, len(self._missing)
        return MediaError(
            "A clip is not as long as its scene; the video is damaged.",
            received=f"{self._cursor.path}: {num} or more of {len(set(cut.positions))} frames are missing",
            expected=f"{cut.seconds:.2f} s from {cut.start:.2f} s on",
        )


def _encode_shown(pixels: Frames) -> VideoFrame:
    """A frame of an even size in yuv420p and BT.709, of pixels uint8 [H, W, 3]."""
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    shown = VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
    shown = shown.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
    shown.colorspace, shown.color_primaries, shown.color_trc = int(Colorspace.ITU709), _BT709, _BT709
    shown.color_range = int(ColorRange.MPEG)
    return shown
