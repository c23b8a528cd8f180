"""Reads chosen frames of a video by index, upright and by their times, without decoding the rest.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from easyanimate_core.errors import MediaError, PluginError
from easyanimate_core.media import Deadline
from easyanimate_core.picture import Screen, deinterlace
from easyanimate_core.stream import find_stream, open_video
from easyanimate_core.video import check_decord
from numpy.typing import NDArray

from easyanimate_data.timeline import decode_packet, find_stamp, read_timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from av import VideoFrame
    from easyanimate_core import FrameChoice

    from easyanimate_data.timeline import Timeline

Frames = NDArray[np.uint8]
Reader = Literal["pyav", "decord"]

JUMP_FRAMES = 12
"""A seek costs about as much as decoding this many frames."""

TRIED_KEYS = 3
"""Key frames from which decoding is tried before it begins at the start of the file."""

_NEIGHBOURS = 3
"""Decoded frames that are kept: what an interlaced frame needs."""


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
        frame, before, after = self._find_between(wanted)
        return deinterlace(frame, before, after) if frame.interlaced_frame else frame

    def show(self, wanted: int) -> Frames:
        """The pixels of the frame with this index into the timeline's stamps; indices rise from call to call."""
        return self._screen.show(*self._find_between(wanted))

    def _find_between(self, wanted: int) -> tuple[VideoFrame, VideoFrame | None, VideoFrame | None]:
        """A frame with the one before and the one after it, which an interlaced one needs; None where it needs none."""
        before = self._find_neighbour(wanted - 1) if self.timeline.interlaced else None
        frame = self.find(wanted)
        if not frame.interlaced_frame:
            return frame, None, None
        return frame, before or self._find_neighbour(wanted - 1), self._find_neighbour(wanted + 1)

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
            for frame in decode_packet(packet):
                whole = whole or frame.key_frame
                position = timeline.positions.get(find_stamp(frame)) if timeline.timed else count
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
