"""Reads chosen frames of a video by index, upright and by their times, without decoding the rest.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from easyanimate_core.errors import MediaError, PluginError
from easyanimate_core.media import Deadline
from easyanimate_core.picture import Screen, deinterlace, find_aspect
from easyanimate_core.rate import constant_rate
from easyanimate_core.stream import find_rate, find_stream, has_times, open_video
from easyanimate_core.video import check_decord
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from av import Packet, VideoFrame
    from av.container import InputContainer
    from easyanimate_core import FrameChoice
    from easyanimate_core.picture import Look

Frames = NDArray[np.uint8]
Reader = Literal["pyav", "decord"]

JUMP_FRAMES = 12
"""A seek costs about as much as decoding this many frames."""

TRIED_KEYS = 3
"""Key frames from which decoding is tried before it begins at the start of the file."""

_NEIGHBOURS = 3
"""Decoded frames that are kept: what an interlaced frame needs."""

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
                first = next(iter(_decode(packet)), None)
            if packet.size:
                packets.append(_describe(packet))
        if first is None:
            raise MediaError("The video has no frames.", received=path)
        _refuse_truncated(container, packets, path)
        # A program stream has times for some frames only; those between are guessed, and otherwise after a seek.
        begin = _stamp(first) if has_times(container, stream) else None
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


def read_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, as shown; see `read_opening`."""
    look, _ = read_opening(path)
    return look.height, look.width


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
            for frame in _decode(packet):
                return Screen(path, find_aspect(stream)).look(frame), find_rate(stream)
    raise MediaError("The video has no frames.", received=path)


def read_frames(
    path: Path,
    indices: Sequence[int],
    *,
    timeline: Timeline | None = None,
    reader: Reader = "pyav",
    transform: Callable[[Frames], Frames] | None = None,
) -> Frames:
    """Read the frames with these indices.

    Args:
        path: The video.
        indices: Ticks of the constant rate, in any order, repeated or not.
        timeline: What `read_timeline` gave, when it is known already.
        reader: "pyav", or "decord" for H.264 and VP9 at a constant rate.
        transform: Applied to each frame [H, W, 3] as soon as it is read; shrinking saves memory. All get one size.

    Returns:
        uint8 [T, H, W, 3], upright, in the order of `indices`.

    Raises:
        MediaError: When the file cannot be read, or has no such frame.
        PluginError: When decord is not installed.
    """
    timeline = timeline or read_timeline(path)
    wrong = [index for index in indices if not 0 <= index < len(timeline)]
    if wrong or not len(indices):
        raise MediaError(
            "The video has no such frames.",
            received=f"{path}: frames {wrong[:5] or 'none'}",
            expected=f"at least one from 0 to {len(timeline) - 1}",
        )
    positions = [timeline.order[index] for index in indices]
    read = _read_decord if reader == "decord" else _read_pyav
    found = read(path, sorted(set(positions)), timeline, transform or _as_is)
    return np.stack([found[position] for position in positions])


def show_all(path: Path, timeline: Timeline) -> Generator[tuple[int, Frames]]:
    """All frames that can be decoded, as shown, uint8 [H, W, 3], with their indices into the timeline's stamps.

    Raises:
        MediaError: When the file cannot be read, or its frames change their size.
    """
    screen = Screen(path, timeline.look.aspect, (timeline.height, timeline.width))
    with closing(_decode_from(path, timeline, 0)) as decoded:
        before: VideoFrame | None = None
        held: tuple[int, VideoFrame] | None = None
        for item in decoded:
            if held is not None:
                yield held[0], screen.show(held[1], before, item[1])
                before = held[1]
            held = item
        if held is not None:
            yield held[0], screen.show(held[1], before, None)


def choose_indices(timeline: Timeline, choice: FrameChoice) -> list[int]:
    """The ticks that `choice` means; at least one.

    "rate" steps by int(fps / rate) frames, but at most to the last, as the original's motion score does.
    """
    total = len(timeline)
    if choice.kind == "middle":
        return [total // 2]
    if choice.kind == "uniform":
        return [int(index) for index in np.linspace(0, total, int(choice.value), endpoint=False)]
    if choice.kind == "key":
        return sorted({0, *timeline.keys})[: max(int(choice.value), 1)]
    interval = max(min(int(timeline.fps / min(choice.value, timeline.fps)), total - 1), 1)
    return list(range(0, total, interval))


class _Stored(NamedTuple):
    """What a packet says, without its data."""

    pts: int | None
    dts: int | None
    key: bool
    discard: bool
    corrupt: bool


def _describe(packet: Packet) -> _Stored:
    return _Stored(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)


def _decode(packet: Packet) -> list[VideoFrame]:
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
    begin = _stamp(first)
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


def _stamp(frame: VideoFrame) -> int | None:
    return frame.dts if frame.pts is None else frame.pts


def _as_is(frame: Frames) -> Frames:
    return frame


def _read_pyav(
    path: Path, positions: Sequence[int], timeline: Timeline, transform: Callable[[Frames], Frames]
) -> dict[int, Frames]:
    """Frames by their index into `timeline.stamps`; `positions` rise."""
    deadline = Deadline(path)
    found: dict[int, Frames] = {}
    with closing(FrameCursor(path, timeline)) as cursor:
        for position in positions:
            deadline.check()
            found[position] = transform(cursor.show(position))
    return found


class FrameCursor:
    """Goes from one wanted frame to the next: decodes on, or begins anew at a key frame where that is quicker.

    Where a seek lands and what a decoder gives first depends on the format, so every frame is known by its time, and
    decoding begins further ahead until the frame that was wanted comes.
    """

    def __init__(self, path: Path, timeline: Timeline) -> None:
        self.path = path
        self.timeline = timeline
        self._run: Generator[tuple[int, VideoFrame]] | None = None
        self._position = -1
        self._screen = Screen(path, timeline.look.aspect, (timeline.height, timeline.width))
        self._recent: dict[int, VideoFrame] = {}

    def find_whole(self, wanted: int) -> VideoFrame:
        """The frame as it is stored, but for fields, which become whole pictures.

        Raises:
            MediaError: When it cannot be decoded.
        """
        before = self._find_neighbour(wanted - 1) if self.timeline.interlaced else None
        frame = self.find(wanted)
        if not frame.interlaced_frame:
            return frame
        before = before or self._find_neighbour(wanted - 1)
        return deinterlace(frame, before, self._find_neighbour(wanted + 1))

    def show(self, wanted: int) -> Frames:
        """The pixels of the frame with this index into the timeline's stamps; indices rise from call to call."""
        before = self._find_neighbour(wanted - 1) if self.timeline.interlaced else None
        frame = self.find(wanted)
        if not frame.interlaced_frame:
            return self._screen.show(frame)
        before = before or self._find_neighbour(wanted - 1)
        return self._screen.show(frame, before, self._find_neighbour(wanted + 1))

    def _find_neighbour(self, wanted: int) -> VideoFrame | None:
        """A frame beside another; None where there is none, or where it is damaged."""
        if not 0 <= wanted < len(self.timeline.stamps):
            return None
        try:
            return self.find(wanted)
        except MediaError:
            return None

    def find(self, wanted: int) -> VideoFrame:
        """The frame with this index into the timeline's stamps; quickest where indices rise from call to call.

        Raises:
            MediaError: When it cannot be decoded.
        """
        if wanted in self._recent:
            return self._recent[wanted]
        known = self.timeline.key_positions if self.timeline.timed else ()
        keys = [key for key in known[: bisect_right(known, wanted)] if key]
        frame = None if keys and keys[-1] > self._position + JUMP_FRAMES else self._go_on(wanted)
        for start in [*keys[: -TRIED_KEYS - 1 : -1], 0]:
            if frame is not None:
                return frame
            self.close()
            self._run = _decode_from(self.path, self.timeline, start)
            frame = self._go_on(wanted)
        if frame is None:
            raise MediaError(
                "A frame cannot be decoded; the video is damaged.",
                received=f"{self.path}: frame {wanted}",
                expected="a video that is whole",
            )
        return frame

    def close(self) -> None:
        """Close the file."""
        if self._run is not None:
            self._run.close()

    def _go_on(self, wanted: int) -> VideoFrame | None:
        for position, frame in self._run or ():
            self._position = position
            self._recent[position] = frame
            self._recent.pop(next(iter(self._recent)) if len(self._recent) > _NEIGHBOURS else -1, None)
            if position >= wanted:
                return frame if position == wanted else None
        return None


def _decode_from(path: Path, timeline: Timeline, start: int) -> Generator[tuple[int, VideoFrame]]:
    """Frames in rising order with their indices into the timeline's stamps, from about the key frame `start` on.

    0 means the start of the file, without a seek. After a seek, nothing counts until a key frame comes: what is
    decoded before it refers to frames that are missing.
    """
    from av.error import FFmpegError

    with open_video(path) as container:
        stream = find_stream(container, path)
        if start:
            try:
                container.seek(timeline.stamps[start], stream=stream)
            except FFmpegError:
                return  # a format without seeking
        whole = not start
        count = 0
        for packet in container.demux(stream):
            for frame in _decode(packet):
                whole = whole or frame.key_frame
                position = timeline.positions.get(_stamp(frame)) if timeline.timed else count
                count += 1
                if whole and position is not None:
                    yield position, frame


def _read_decord(
    path: Path, positions: Sequence[int], timeline: Timeline, transform: Callable[[Frames], Frames]
) -> dict[int, Frames]:
    with open_video(path) as container:
        check_decord(container, container.streams.video[0], path)
    if not timeline.even or timeline.hidden or timeline.leading or not timeline.timed:
        raise MediaError(
            "decord gives wrong frames where they come at irregular times, were cut without encoding or open a group.",
            received=path,
            expected="a constant frame rate, whole closed groups of pictures",
            fix="read it with pyav",
        )
    try:
        from decord import VideoReader  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise PluginError(
            "The reader decord is not installed.", received="decord", fix="pip install easyanimate-data[decord]"
        ) from error
    reader: Any = VideoReader(str(path))
    return {position: transform(reader[position].asnumpy()) for position in positions}
