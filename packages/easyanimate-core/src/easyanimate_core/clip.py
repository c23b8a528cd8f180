"""A clip that is to be made, and one that was made: with everything that its file will tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.animation import MAX_FPS, write_animation
from easyanimate_core.errors import RequestError
from easyanimate_core.video import write_image, write_video

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from easyanimate_core.manifest import InputFile, Manifest
    from easyanimate_core.request import Video, VideoRequest


@dataclass(frozen=True)
class ClipPlan:
    """A clip that is ready to be made: defaults are filled in, files read, everything checked.

    Args:
        request: What the pipeline gets.
        inputs: Where the pictures and videos of the request came from.
        notes: What the user should know before the clip is made, a line each: what was chosen or changed for them.
    """

    request: VideoRequest
    inputs: tuple[InputFile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """A clip that was made.

    Args:
        video: Frames, and frames per second.
        request: What it was made from.
        describe: Gives the manifest; hashing the weights takes a while the first time.
    """

    video: Video
    request: VideoRequest
    describe: Callable[[], Manifest]

    @property
    def frames(self) -> np.ndarray[Any, Any]:
        """The frames, uint8 [T, H, W, 3]."""
        return self.video.frames

    @cached_property
    def manifest(self) -> Manifest:
        """Everything needed to make the clip again."""
        return self.describe()

    def save(self, path: Path | str) -> Path:
        """Write an mp4, GIF or WebP, or a PNG for a clip of one frame; an existing file is replaced.

        The manifest is inside, with the paths of files as seen from the folder of this one.

        Returns:
            The path.

        Raises:
            RequestError: The name has another ending.
            MediaError: The file cannot be written.
        """
        path = Path(path)
        check_ending(path, self.request)
        manifest = self.manifest.to_json(path.parent)
        kind = path.suffix.lower()
        if kind == ".png":
            return write_image(path, self.frames[0], manifest=manifest)
        return (write_video if kind == ".mp4" else write_animation)(path, self.video, manifest=manifest)


def endings(request: VideoRequest) -> tuple[str, ...]:
    """What the name of the file of a clip may end in, the usual one first."""
    return (".png",) if request.num_frames == 1 else (".mp4", ".gif", ".webp")


def ending(request: VideoRequest) -> str:
    """What the name of the file of a clip usually ends in."""
    return endings(request)[0]


def check_ending(path: Path, request: VideoRequest) -> None:
    """Raise `RequestError` unless the name fits what is to be written."""
    kind, accepted = path.suffix.lower(), endings(request)
    if kind not in accepted:
        raise RequestError(
            "The name of the output does not fit.",
            received=path.name,
            expected=f"a name that ends in {' or '.join(accepted)}"
            + (" (one frame is an image)" if request.num_frames == 1 else "; a folder ends in a slash"),
        )
    if kind in MAX_FPS and request.fps > MAX_FPS[kind]:
        raise RequestError(
            f"A file that ends in {kind} cannot be that fast.",
            received=f"{request.fps:g} frames per second",
            expected=f"at most {MAX_FPS[kind]:g}",
            fix=f"add --fps {MAX_FPS[kind]:g}, or write .mp4",
        )
