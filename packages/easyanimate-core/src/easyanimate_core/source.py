"""What a clip starts from: pictures and videos, read from files or taken from memory, as far as the clip takes them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.errors import MediaError
from easyanimate_core.image import read_image
from easyanimate_core.manifest import InputFile
from easyanimate_core.rate import resample
from easyanimate_core.request import Video
from easyanimate_core.stream import find_stream, open_video
from easyanimate_core.video import read_mask, read_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROLES = {"start_images": "image", "end_image": "end-image", "video": "video", "mask": "mask"}
"""Settings of a request that come from files, and what a manifest calls them."""


@dataclass(frozen=True)
class Picture:
    """What a clip starts from, as it is: role ("image", "end-image", "video"), height and width in pixels."""

    role: str
    height: int
    width: int

    @property
    def size(self) -> str:
        """Height and width for people."""
        return f"{self.height}x{self.width}"

    @property
    def is_upright(self) -> bool:
        """Whether it is higher than wide."""
        return self.height > self.width


@dataclass(frozen=True)
class _Sampling:
    """Which frames of a video a clip takes.

    Args:
        num_frames: The most.
        start: Seconds from the beginning.
        fps: Frames per second; None is the video's own rate.
    """

    num_frames: int
    start: float
    fps: float | None

    def read(self, path: Path) -> Video:
        """What a clip takes of a file."""
        return read_video(path, max_frames=self.num_frames, start=self.start, fps=self.fps)

    def read_mask(self, path: Path) -> Any:
        """The same of a mask; a picture masks all frames."""
        return read_mask(path, max_frames=self.num_frames, start=self.start, fps=self.fps)

    def take(self, video: Video) -> Video:
        """What a clip takes of a video in memory."""
        return Video(video.frames[self._choose(len(video.frames), video.fps)], self.fps or video.fps)

    def take_mask(self, mask: Any, video: Any) -> Any:
        """The same of its mask, where that has a frame for each of the video's."""
        each = isinstance(video, Video) and len(getattr(mask, "shape", ())) > 0 and len(mask) == len(video.frames)
        return mask[self._choose(len(mask), video.fps)] if each else mask

    def _choose(self, total: int, fps: float) -> list[int]:
        """Which of so many frames are taken."""
        first = round(self.start * fps)
        if first >= total:
            raise MediaError(
                "The video has ended where the clip starts.",
                received=f"{total / fps:g} seconds, --video-start {self.start:g}",
                expected="a start before its end",
            )
        return [first + tick for tick in resample(total - first, fps, self.fps or fps)[: self.num_frames]]


def read_seconds(path: Path) -> float | None:
    """How long a video is by its header; None where it does not say so."""
    with suppress(MediaError), open_video(path) as container:
        stream = find_stream(container, path)
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return container.duration / 1_000_000 if container.duration else None
    return None


@dataclass(frozen=True)
class Sources:
    """The pictures and videos of a request.

    Args:
        values: By the names that `VideoRequest` has for them.
        origins: Role and path, or pixels, of each.
    """

    values: Mapping[str, Any]
    origins: Sequence[tuple[str, Any]]

    @classmethod
    def read(cls, given: Mapping[str, Any], default_frames: int) -> Sources:
        """Read what is given as a path; of a video and its mask, only what the clip takes."""
        num_frames = given.get("num_frames", default_frames)
        sampling = _Sampling(num_frames, given.get("video_start", 0.0), given.get("video_fps"))
        readers: dict[str, Callable[[Path], Any]] = {
            "start_images": read_image,
            "end_image": read_image,
            "video": sampling.read,
            "mask": sampling.read_mask,
        }
        values: dict[str, Any] = {}
        origins: list[tuple[str, Any]] = []
        for name, role in ROLES.items():
            if name not in given:
                continue
            sources = cast("list[Any]", given[name] if _is_several(given[name]) else [given[name]])
            found: list[Any] = []
            for source in sources:
                if is_path(source):
                    found.append(readers[name](Path(source)))
                elif name == "video" and isinstance(source, Video):
                    found.append(sampling.take(source))
                elif name == "mask":
                    found.append(sampling.take_mask(source, given.get("video")))
                else:
                    found.append(source)
                origins.append((role, source))
            values[name] = tuple(found) if name == "start_images" else found[0]
        return cls(values, origins)

    def describe(self) -> tuple[InputFile, ...]:
        """Where they came from; only to be asked once `VideoRequest` has found that they are pixels."""
        return tuple(
            InputFile.read(role, Path(source))
            if is_path(source)
            else InputFile.describe(role, source.frames if isinstance(source, Video) else source)
            for role, source in self.origins
        )

    @property
    def video(self) -> Video | None:
        """The source video; None, too, where something else was given, which `VideoRequest` refuses."""
        video = self.values.get("video")
        return video if isinstance(video, Video) else None

    @property
    def pictures(self) -> list[Picture]:
        """Images and the video, by which a mask goes; without what `VideoRequest` refuses."""
        values = self.values
        images: list[tuple[str, Any]] = [("image", image) for image in values.get("start_images", ())]
        images.append(("end-image", values.get("end_image")))
        images.append(("video", None if self.video is None else self.video.frames[0]))
        return [
            Picture(role, image.shape[0], image.shape[1])
            for role, image in images
            if len(getattr(image, "shape", ())) == 3  # noqa: PLR2004 (height, width, colour)
        ]

    @property
    def leading(self) -> Picture | None:
        """The first image, or the video: the size of a clip follows it."""
        return next((picture for picture in self.pictures if picture.role != "end-image"), None)

    @property
    def has_mask(self) -> bool:
        """Whether a mask says where to generate."""
        return "mask" in self.values


def is_path(source: Any) -> bool:
    """Whether a source is a file, and not pixels."""
    return isinstance(source, str | Path)


def _is_several(sources: Any) -> bool:
    return isinstance(sources, list | tuple)
