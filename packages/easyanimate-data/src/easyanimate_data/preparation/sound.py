"""Cuts a piece out of the sound of a video, so that it stays with the picture, and codes it as AAC."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
from av.codec.context import Flags
from av.error import FFmpegError
from av.filter import Graph
from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Generator

    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer, OutputContainer

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples a second that AAC knows (ISO/IEC 14496-3, table 1.18)."""

USUAL_RATE = 48000
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What AAC knows, by the number of channels; what is more becomes stereo, where it is known which is which."""
AAC_SAMPLES = 1024
"""Samples of a packet."""

LEAD_SECONDS = 3.0
"""How far ahead of the piece a seek goes: not every container says where a packet lies."""


class SoundError(MediaError):
    """A sound track that cannot be read or coded; the picture is none the worse for it."""


class SoundWriter:
    """Codes the piece of a source's first sound track that belongs to a clip into the clip.

    Gaps and packets that cannot be decoded become silence, so that what follows stays in time.

    Args:
        target: The clip in the making; its header is not written yet.
        source: Container of the source, which this reads alone.
        start: Where the piece begins, in seconds of the source's own clock.
        seconds: Its length.

    Raises:
        SoundError: When nothing of it can be decoded, or AAC cannot hold it.
    """

    def __init__(self, target: OutputContainer, source: InputContainer, *, start: float, seconds: float) -> None:
        try:
            frames = _cut(source, start, seconds)
            self._next: AudioFrame | None = next(frames, None)
            if self._next is None:
                raise SoundError("No sound could be decoded.")
            self._frames = frames
            self._stream = _add_stream(target, self._next)
        except (FFmpegError, ValueError) as error:
            raise SoundError(f"The sound cannot be coded: {error}") from error

    def write(self, until: float | None = None) -> Generator[Packet]:
        """Code on to a time in seconds of the clip, or to the end.

        Raises:
            SoundError: When it cannot be coded.
        """
        try:
            while self._next is not None and (until is None or _begin(self._next) < until):
                yield from self._stream.encode(self._next)
                self._next = next(self._frames, None)
            if until is None:
                yield from self._stream.encode(None)
        except (FFmpegError, ValueError) as error:
            raise SoundError(f"The sound cannot be coded: {error}") from error


def _begin(frame: AudioFrame) -> float:
    return float((frame.pts or 0) * frame.time_base) if frame.time_base else 0.0


def _add_stream(target: OutputContainer, frame: AudioFrame) -> AudioStream:
    """An AAC stream that is open, with the track's own rate and channels."""
    stream = target.add_stream("aac", rate=frame.sample_rate)
    context = stream.codec_context
    context.layout, context.format = frame.layout.name, frame.format.name
    context.flags |= Flags.bitexact
    context.open()
    return stream


def _cut(source: InputContainer, start: float, seconds: float) -> Generator[AudioFrame]:
    """The piece in frames of AAC's length, silent where there is nothing; nothing at all where nothing is decoded."""
    stream: Any = source.streams.audio[0]
    graph: Any = None
    for frame in _decode_from(source, stream, start):
        begin = _begin(frame)
        if begin >= start + seconds:
            break
        if begin + frame.samples / frame.sample_rate <= start:
            continue
        if graph is None:
            graph = _build_graph(frame, start, seconds)
        graph.push(frame)
        yield from _pull(graph)
    if graph is not None:
        graph.push(None)
        yield from _pull(graph)


def _decode_from(source: InputContainer, stream: Any, start: float) -> Generator[AudioFrame]:
    """What can be decoded and has a time, from before `start` on where there is anything."""
    if start > LEAD_SECONDS:
        with suppress(FFmpegError):
            source.seek(int((start - LEAD_SECONDS) * av.time_base))
            frames = _decode_timed(source, stream)
            first = next(frames, None)
            if first is not None and _begin(first) <= start:
                yield first
                yield from frames
                return
        with suppress(FFmpegError):  # the seek went too far, or the track begins later
            source.seek(source.start_time or 0)
    yield from _decode_timed(source, stream)


def _decode_timed(source: InputContainer, stream: Any) -> Generator[AudioFrame]:
    for packet in source.demux(stream):
        for frame in _decode(packet):
            if frame.pts is not None and frame.time_base is not None:
                yield frame


def _decode(packet: Packet) -> list[AudioFrame]:
    try:
        return packet.decode()  # pyright: ignore[reportReturnType]
    except FFmpegError:
        return []


def _build_graph(frame: AudioFrame, start: float, seconds: float) -> Any:
    """A filter that trims to the piece, counts its time from 0, fills gaps, and gives what AAC takes."""
    graph = Graph()
    layout = LAYOUTS.get(frame.layout.nb_channels, "stereo")
    rate = frame.sample_rate if frame.sample_rate in AAC_RATES else USUAL_RATE
    filters = [
        graph.add_abuffer(
            format=frame.format.name, sample_rate=frame.sample_rate, layout=frame.layout.name, time_base=frame.time_base
        ),
        graph.add("atrim", f"start={start:.6f}:end={start + seconds:.6f}"),
        graph.add("asetpts", f"PTS-({start:.6f})/TB"),
        graph.add("aresample", f"{rate}:async=1:first_pts=0"),
        graph.add("aformat", f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"),
        graph.add("asetnsamples", f"n={AAC_SAMPLES}:p=0"),
        graph.add("abuffersink"),
    ]
    for one, other in pairwise(filters):
        one.link_to(other)
    graph.configure()
    return graph


def _pull(graph: Any) -> Generator[AudioFrame]:
    while True:
        try:
            yield graph.pull()
        except (BlockingIOError, EOFError):
            return
