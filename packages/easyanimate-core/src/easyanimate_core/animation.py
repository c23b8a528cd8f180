"""Writes clips as animated GIF and WebP, for pages and chats, with the manifest inside.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8 [T, H, W, 3].
"""

from __future__ import annotations

import html
import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import MediaError
from easyanimate_core.image import open_image
from easyanimate_core.media import reading, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from easyanimate_core.request import Video

    Pixels = npt.NDArray[np.uint8]

MAX_FPS = {".gif": 50.0, ".webp": 1000.0}
"""Frames per second by ending: GIF counts hundredths of a second, and browsers slow one of them down to ten."""

_WEBP_QUALITY = 90
"""Of 100; the loss is hardly visible."""

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:ea="urn:easyanimate"><ea:manifest>{}</ea:manifest></rdf:Description>'
    "</rdf:RDF></x:xmpmeta>"
)
"""XMP is the one place for texts that WebP has; many tools keep it."""


def write_animation(path: Path, video: Video, *, manifest: Mapping[str, Any] | None = None) -> Path:
    """Write an animation that repeats for ever: GIF with 256 colours a frame, or WebP.

    Neighbours that are equal become one frame that shows longer. A frame shows for a whole number of hundredths (GIF)
    or thousandths (WebP) of a second, chosen so that the clip as a whole keeps its rate. GIF holds the manifest as its
    comment, WebP as XMP; sites and chats that code a file anew drop it.

    Args:
        path: Ends in .gif or .webp; the folder is made when missing.
        video: The clip, at most as fast as `MAX_FPS`.
        manifest: JSON-able mapping to embed.

    Raises:
        MediaError: When the file cannot be written.
    """
    from PIL import Image

    kind = path.suffix.lower()
    if kind not in MAX_FPS:
        raise MediaError("This is no animation.", received=path.name, expected=", ".join(MAX_FPS))
    text = json.dumps(manifest) if manifest is not None else None
    options: dict[str, Any] = {
        "duration": frame_durations(len(video.frames), video.fps, unit=10 if kind == ".gif" else 1)
    }
    if kind == ".gif":
        options |= {"comment": text.encode("ascii")} if text else {}
    else:
        options |= {"quality": _WEBP_QUALITY, "method": 4}
        options |= {"xmp": _XMP.format(html.escape(text, quote=False)).encode("ascii")} if text else {}
    pictures = (Image.fromarray(frame) for frame in video.frames)
    first = next(pictures)
    with writing(path) as part:
        first.save(part, format=kind[1:].upper(), save_all=True, append_images=pictures, loop=0, **options)
    return path


def frame_durations(num_frames: int, fps: float, *, unit: int) -> list[int]:
    """Milliseconds that each frame shows, multiples of `unit`, whose sum never drifts from the rate."""
    ends = [round(1000 * index / fps / unit) * unit for index in range(num_frames + 1)]
    return [max(end - begin, unit) for begin, end in pairwise(ends)]


def read_comment(path: Path) -> str | None:
    """The text that `write_animation` embedded; None where there is none.

    Raises:
        MediaError: When the file is missing or damaged.
    """
    with reading(path), open_image(path) as opened:
        comment, xmp = opened.info.get("comment"), opened.info.get("xmp")
    if isinstance(comment, bytes):
        return comment.decode("utf-8", "replace")
    if isinstance(xmp, bytes) and (found := re.search(rb"<ea:manifest>(.*?)</ea:manifest>", xmp, re.DOTALL)):
        return html.unescape(found[1].decode("utf-8", "replace"))
    return None


def read_frames(path: Path) -> list[Pixels]:
    """The frames as they were written, uint8 [H, W, 3] each.

    Raises:
        MediaError: When the file is missing or damaged.
    """
    import numpy as np
    from PIL import ImageSequence

    with reading(path), open_image(path) as opened:
        return [np.asarray(frame.convert("RGB"), np.uint8) for frame in ImageSequence.Iterator(opened)]
