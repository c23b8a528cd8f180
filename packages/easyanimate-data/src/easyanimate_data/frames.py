"""Reads chosen frames of a video by their place, upright and by their times, without decoding the rest.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from easyanimate_core.errors import MediaError
from easyanimate_core.video import check_decord, constant_rate, open_video, upright
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av.container import InputContainer
    from easyanimate_core import FrameChoice

Frames = NDArray[np.uint8]
Reader = Literal["pyav", "decord"]

MAX_RATE = 1000.0
"""Frames per second above which a file's own word on its rate is not believed."""


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video shows, read from its packets without decoding.

    Args:
        stamps: Presentation times of the frames in the stream's own units, rising.
        order: Index into `stamps` for each tick of a constant rate; 0, 1, 2, ... where the frames come evenly.
        keys: Ticks at which a key frame shows.
        fps: Ticks per second.
        height: In pixels, upright.
        width: In pixels, upright.
        codec: Name of the codec, such as "h264".
    """

    stamps: tuple[int, ...]
    order: tuple[int, ...]
    keys: tuple[int, ...]
    fps: float
    height: int
    width: int
    codec: str

    def __len__(self) -> int:
        """Frames at the constant rate."""
        return len(self.order)

    @property
    def seconds(self) -> float:
        """How long the video is."""
        return len(self) / self.fps


def read_timeline(path: Path) -> Timeline:
    """Read the times of all frames.

    Raises:
        MediaError: When the file is missing, is no video or has no frames.
    """
    with open_video(path) as container:
        return _read_timeline(container, path)


def read_frames(
    path: Path, indices: Sequence[int], *, timeline: Timeline | None = None, reader: Reader = "pyav"
) -> Frames:
    """Read the frames at these places.

    Args:
        path: The video.
        indices: Ticks of the constant rate, in any order, repeated or not.
        timeline: What `read_timeline` gave, when it is known already.
        reader: "pyav", or "decord" for H.264 and VP9 at a constant rate.

    Returns:
        uint8 [T, H, W, 3], upright, in the order of `indices`.

    Raises:
        MediaError: When the file cannot be read, or has no such frame.
    """
    with open_video(path) as container:
        timeline = timeline or _read_timeline(container, path)
        wrong = [index for index in indices if not 0 <= index < len(timeline)]
        if wrong or not len(indices):
            raise MediaError(
                "The video has no such frames.",
                received=f"{path}: frames {wrong[:5] or 'none'}",
                expected=f"at least one from 0 to {len(timeline) - 1}",
            )
        if reader == "decord":
            return _read_decord(container, path, indices, timeline)
        return _read_pyav(container, path, [timeline.stamps[timeline.order[index]] for index in indices])


def choose_indices(timeline: Timeline, choice: FrameChoice) -> list[int]:
    """The ticks that `choice` means; at least one.

    "rate" steps by int(fps / rate) frames, but at most to the last, as the original's motion score does.
    """
    total = len(timeline)
    if choice.kind == "middle":
        return [total // 2]
    if choice.kind == "uniform":
        return [int(place) for place in np.linspace(0, total, int(choice.value), endpoint=False)]
    if choice.kind == "key":
        return sorted({0, *timeline.keys})[: max(int(choice.value), 1)]
    interval = max(min(int(timeline.fps / min(choice.value, timeline.fps)), total - 1), 1)
    return list(range(0, total, interval))


def _read_timeline(container: InputContainer, path: Path) -> Timeline:
    stream = container.streams.video[0]
    packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt]
    packets = [packet for packet in packets if packet.pts is not None or packet.dts is not None]
    if not packets:
        raise MediaError("The video has no frames.", received=path)
    # A stream without presentation times shows its frames in the order in which they are stored.
    timed = sorted((packet.dts if packet.pts is None else packet.pts, packet.is_keyframe) for packet in packets)
    timed = [item for item, after in zip(timed, [*timed[1:], None], strict=True) if not after or item[0] != after[0]]
    stamps = [stamp for stamp, _ in timed]
    unit = float(stream.time_base or 1)
    fps = _rate(stream, stamps, unit)
    order = constant_rate([stamp * unit for stamp in stamps], fps)
    keyed = {index for index, (_, key) in enumerate(timed) if key}
    keys = [tick for tick, index in enumerate(order) if index in keyed and (tick == 0 or order[tick - 1] != index)]
    height, width = _upright_size(container)
    container.seek(0)
    return Timeline(tuple(stamps), tuple(order), tuple(keys), fps, height, width, stream.codec_context.name)


def _rate(stream: Any, stamps: Sequence[int], unit: float) -> float:
    """Frames per second: what the file says, unless the times of its frames make that impossible."""
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    if 0 < fps <= MAX_RATE:
        return fps
    return (len(stamps) - 1) / ((stamps[-1] - stamps[0]) * unit) if len(stamps) > 1 else 1.0


def _upright_size(container: InputContainer) -> tuple[int, int]:
    """Height and width of the first frame that can be decoded; its rotation tag counts."""
    stream = container.streams.video[0]
    container.seek(0)
    for frame in container.decode(stream):
        turned = round(frame.rotation / 90) % 2
        return (frame.width, frame.height) if turned else (frame.height, frame.width)
    return 0, 0


def _read_pyav(container: InputContainer, path: Path, stamps: Sequence[int]) -> Frames:
    """Frames by their time stamps: sorted, so that one run of decoding serves all that lie close together."""
    stream = container.streams.video[0]
    wanted = sorted(set(stamps))
    found: dict[int, Frames] = {}
    position: int | None = None
    place = 0
    decoder: Any = iter(())
    while place < len(wanted):
        if position is None or _jump_pays(stream, position, wanted[place]):
            container.seek(wanted[place], stream=stream, backward=True)
            decoder = container.decode(stream)
        for frame in decoder:
            stamp = frame.dts if frame.pts is None else frame.pts
            position = stamp
            if stamp is not None and stamp >= wanted[place]:
                found[wanted[place]] = upright(frame)
                place += 1
                break
        else:
            break
    if len(found) < len(wanted):
        raise MediaError(
            "A video ends before its own index says so; it is damaged.",
            received=f"{path}: {len(found)} of {len(wanted)} frames",
            expected="a video that is whole",
        )
    return np.stack([found[stamp] for stamp in stamps])


def _jump_pays(stream: Any, position: int, target: int) -> bool:
    """Whether a key frame may lie far enough ahead that seeking is quicker than decoding on."""
    return (target - position) * float(stream.time_base or 1) > JUMP_SECONDS


JUMP_SECONDS = 2.0
"""Distance between two wanted frames from which on a seek is tried; most encoders place key frames this often."""


def _read_decord(container: InputContainer, path: Path, indices: Sequence[int], timeline: Timeline) -> Frames:
    check_decord(container, container.streams.video[0], path)
    if timeline.order != tuple(range(len(timeline.stamps))):
        raise MediaError(
            "decord reads no video whose frames come at irregular times.",
            received=path,
            expected="a constant frame rate",
            fix="read it with pyav",
        )
    try:
        from decord import VideoReader  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MediaError(
            "The reader decord is not installed.", received="decord", fix="pip install easyanimate-data[decord]"
        ) from error
    reader: Any = VideoReader(str(path))
    return reader.get_batch([timeline.order[index] for index in indices]).asnumpy()
