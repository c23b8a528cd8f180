"""Reads when the frames of a video show, from its packets, and what its opening says."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.media import Deadline
from easyanimate_core.picture import Screen, find_aspect
from easyanimate_core.rate import constant_rate
from easyanimate_core.stream import find_rate, find_stream, has_times, open_video

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av import Packet, VideoFrame
    from av.container import InputContainer
    from easyanimate_core.picture import Look
    from numpy.typing import NDArray

_GUESSED_FRAMES = 2.5
"""How many frames a time may be off that the file does not say: the most that codecs of program streams reorder."""

_TRUNCATED = "A video ends before its own index says so; it is damaged."


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video shows, read from its packets without decoding.

    Args:
        stamps: Presentation times of the frames in the stream's own units, rising; numbers from 0 on without times.
        order: Index into `stamps` for each tick of a constant rate; 0, 1, 2, ... where the frames come evenly.
        keys: Ticks at which a key frame shows.
        fps: Ticks per second.
        look: How the frames are shown: size, whether they are interlaced, shape of the pixels, colours.
        timed: Whether the file says when its frames show; if not, they are found by counting from the first.
        hidden: How many frames are stored that never show: a cut without encoding leaves some in front.
        leading: Whether frames that show before a key frame are stored after it (an open group of pictures).
        unit: Seconds that `stamps` count in.
        origin: When the first frame shows, in seconds of the file's own clock, by which its sound goes.
    """

    stamps: tuple[int, ...]
    order: Sequence[int]
    keys: tuple[int, ...]
    fps: float
    look: Look
    timed: bool = True
    hidden: int = 0
    leading: bool = False
    unit: Fraction = Fraction(1)
    origin: float = 0.0

    def __len__(self) -> int:
        """Frames at the constant rate."""
        return len(self.order)

    @property
    def height(self) -> int:
        """In pixels, as shown: upright, with square pixels."""
        return self.look.height

    @property
    def width(self) -> int:
        """The same."""
        return self.look.width

    @property
    def interlaced(self) -> bool:
        """Whether the file's frames are two fields each; `read_frames` gives whole pictures."""
        return self.look.interlaced

    @property
    def seconds(self) -> float:
        """How long the video is."""
        return len(self) / self.fps

    @cached_property
    def even(self) -> bool:
        """Whether the frames come at a constant rate as they are."""
        return len(self.order) == len(self.stamps) and all(index == tick for tick, index in enumerate(self.order))

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """When each frame of `stamps` shows, in seconds from the first; even ones without what containers round."""
        if self.even:
            return np.arange(len(self.stamps)) / self.fps
        return (np.asarray(self.stamps, np.int64) - self.stamps[0]).astype(np.float64) * float(self.unit)

    @cached_property
    def key_positions(self) -> tuple[int, ...]:
        """Indices into `stamps` of the key frames."""
        return tuple(self.order[tick] for tick in self.keys)

    @cached_property
    def positions(self) -> dict[int | None, int]:
        """Index into `stamps` by stamp."""
        return {stamp: position for position, stamp in enumerate(self.stamps)}


def read_timeline(path: Path) -> Timeline:
    """Read the times of all frames.

    Raises:
        MediaError: When the file is missing, is no video, has no frames, is shorter than its index says, takes too long
            to read, or has a jump in its times.
    """
    with open_video(path) as container:
        stream = find_stream(container, path)
        deadline = Deadline(path)
        first: VideoFrame | None = None
        packets: list[_Stored] = []
        for packet in container.demux(stream):
            deadline.check()
            if first is None:
                first = next(iter(decode_packet(packet)), None)
            if packet.size:
                packets.append(_describe(packet))
        if first is None:
            raise MediaError("The video has no frames.", received=path)
        _refuse_truncated(container, packets, path)
        # A program stream has times for some frames only; those between are guessed, and otherwise after a seek.
        begin = find_stamp(first) if has_times(container, stream) else None
        timed = begin is not None and container.format.name != "mpeg"
        shown, hidden = _sort_shown(packets, first, timed=timed)
        stamps = [stamp for stamp, _ in shown]
        counted = not timed and any(packet.dts is None for packet in packets)
        unit = Fraction(stream.time_base or 1)
        fps = _rate(stream, stamps, float(unit))
        times = [stamp * float(unit) for stamp in stamps]
        even = counted or (not timed and _are_almost_even(times, fps))
        order = range(len(stamps)) if even else constant_rate(times, fps, path=path)
        keyed = {index for index, (_, key) in enumerate(shown) if key}
        keys = [tick for tick, index in enumerate(order) if index in keyed and (tick == 0 or order[tick - 1] != index)]
        return Timeline(
            tuple(stamps),
            order,
            tuple(keys),
            fps,
            Screen(path, find_aspect(stream)).look(first),
            timed=timed,
            hidden=hidden,
            leading=_has_leading(packets),
            unit=unit,
            origin=float((0 if counted else stamps[0]) * unit if begin is None else begin * unit),
        )


def read_opening(path: Path) -> tuple[Look, float | None]:
    """How a video is shown, by its first frame, and its frames per second, by its header; no more is looked at.

    Raises:
        MediaError: When the file is missing, is no video but an image, has no frames, or ends before its index says so.
    """
    with open_video(path) as container:
        stream = find_stream(container, path)
        if container.format.name.endswith(("_pipe", "image2")):
            raise MediaError("The file is an image, not a video.", received=path)
        # Only the index of mp4 has byte offsets; that of others may be guessed.
        ends = [entry.pos + entry.size for entry in stream.index_entries] if "mov" in container.format.name else []
        if max(ends, default=0) > path.stat().st_size:
            raise MediaError(_TRUNCATED, received=f"{path}: {path.stat().st_size} of {max(ends)} bytes")
        for packet in container.demux(stream):
            for frame in decode_packet(packet):
                return Screen(path, find_aspect(stream)).look(frame), find_rate(stream)
    raise MediaError("The video has no frames.", received=path)


class _Stored(NamedTuple):
    """What a packet says, without its data."""

    pts: int | None
    dts: int | None
    key: bool
    discard: bool
    corrupt: bool


def _describe(packet: Packet) -> _Stored:
    return _Stored(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)


def decode_packet(packet: Packet) -> list[VideoFrame]:
    """The frames that a packet completes; none where it is damaged, as players do."""
    from av.error import InvalidDataError

    try:
        return packet.decode()  # pyright: ignore[reportReturnType]
    except InvalidDataError:
        return []


def _refuse_truncated(container: InputContainer, packets: Sequence[_Stored], path: Path) -> None:
    """Find files whose end is missing, where the format tells; MPEG-TS, FLV, Matroska and fragments just end."""
    counted = container.streams.video[0].frames if "mov" in container.format.name else 0
    partial = packets and packets[-1].corrupt and "mpegts" not in container.format.name
    if partial or len(packets) < counted:
        raise MediaError(
            _TRUNCATED,
            received=f"{path}: {len(packets)} of {counted or 'more'} frames",
            expected="a video that is whole",
        )


def _sort_shown(packets: Sequence[_Stored], first: VideoFrame, *, timed: bool) -> tuple[list[tuple[int, bool]], int]:
    """Time and whether it is a key frame, of each frame that shows, and how many do not."""
    stored = [packet for packet in packets if not (packet.discard or packet.corrupt)]
    if not timed:
        return list(
            zip(_make_rise([packet.dts for packet in stored]), (packet.key for packet in stored), strict=True)
        ), (len(packets) - len(stored))
    times = [(packet.dts if packet.pts is None else packet.pts, packet.key) for packet in stored]
    begin = find_stamp(first)
    ordered = sorted((time, key) for time, key in times if time is not None and (begin is None or time >= begin))
    following = [time for time, _ in ordered[1:]]
    shown = [item for item, after in zip(ordered, [*following, None], strict=True) if item[0] != after]
    return shown, len(packets) - len(shown)


def _make_rise(times: Sequence[int | None]) -> list[int]:
    """The times of decoding, which are those of showing in their order; numbers from 0 on where some are missing.

    Where they go back, as at the seams of a DVD's files, they go on by the usual step.
    """
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return list(range(len(times)))
    steps = sorted(after - before for before, after in pairwise(known) if after > before)
    usual = steps[len(steps) // 2] if steps else 1
    risen: list[int] = []
    shift = 0
    for time in known:
        if risen and time + shift <= risen[-1]:
            shift = risen[-1] + usual - time
        risen.append(time + shift)
    return risen


def _are_almost_even(times: Sequence[float], fps: float) -> bool:
    """Whether times that are guessed are nowhere further from a constant rate than guesses are."""
    off = np.asarray(times) - times[0] - np.arange(len(times)) / fps
    return bool(np.all(np.abs(off) <= _GUESSED_FRAMES / fps))


def _has_leading(packets: Sequence[_Stored]) -> bool:
    """Whether a frame is stored after a key frame that shows after it."""
    newest: int | None = None
    for packet in packets:
        if packet.key:
            newest = packet.pts
        elif newest is not None and packet.pts is not None and packet.pts < newest:
            return True
    return False


def _rate(stream: Any, stamps: Sequence[int], unit: float) -> float:
    """Frames per second: what the file says, unless the times of its frames make that impossible."""
    return find_rate(stream) or ((len(stamps) - 1) / ((stamps[-1] - stamps[0]) * unit) if len(stamps) > 1 else 1.0)


def find_stamp(frame: VideoFrame) -> int | None:
    """When a frame shows, in the stream's own units; None where nothing says so."""
    return frame.dts if frame.pts is None else frame.pts
