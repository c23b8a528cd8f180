"""The stage `split`: raw videos to clips, images to rows, whole files at a time."""

from __future__ import annotations

import hashlib
import logging
import shutil
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from easyanimate_core import Work
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.image import open_image, read_image, write_image
from easyanimate_core.reservation import NAME_BYTES

from easyanimate_data.frames import FrameCursor
from easyanimate_data.preparation.cut import cut_clip, plan_cut
from easyanimate_data.preparation.folder import CLIPS_FOLDER
from easyanimate_data.preparation.scene import MICROSECONDS, detect_scenes, plan_clips
from easyanimate_data.preparation.source import PICTURE_SUFFIXES, SOURCE_SUFFIXES, is_image, list_sources
from easyanimate_data.timeline import read_timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from easyanimate_core import StageContext

    from easyanimate_data.frames import Frames
    from easyanimate_data.preparation.scene import Span, SplitSettings
    from easyanimate_data.preparation.table import Row
    from easyanimate_data.timeline import Timeline

_logger = logging.getLogger("easyanimate.data")

COPIED_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Endings of images that every program reads."""

_CHOICE_OF_SOURCES = ("endings", "images")


def find_sources(settings: SplitSettings, context: StageContext) -> tuple[str, ...]:
    """The raw videos and images below the input folder, relative to it; what else lies there is told.

    Raises:
        MediaError: When there are none.
    """
    endings = tuple(f".{ending.strip().lower().lstrip('.')}" for ending in settings.endings)
    suffixes = (*SOURCE_SUFFIXES, *endings, *(PICTURE_SUFFIXES if settings.images else ()))
    sources = list_sources(_find_input(context), leave_out=context.dataset, suffixes=suffixes)
    if sources.others:
        others = ", ".join(f"{count} {suffix}" for suffix, count in sources.others.most_common(8))
        _logger.info("left out: %s", others)
    return sources.paths


class Split(Work):
    """Detects the scenes of a video and writes its clips into a folder with the video's own name.

    That folder appears when all clips in it are whole.
    """

    @property
    def depends_on(self) -> Mapping[str, Any]:
        """What the clips of a video depend on, not which files are taken.

        What is not set is not noted, so that runs of earlier releases go on.
        """
        settings = {name: value for name, value in asdict(self.settings).items() if value is not None}
        settings = {name: value for name, value in settings.items() if name not in _CHOICE_OF_SOURCES}
        return {"input": str(_find_input(self.context)), **settings, "compat": self.context.compat}

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any]]]:
        """Nothing has to be loaded."""
        return lambda rows: [{"clips": self.split(str(row["source"]))} for row in rows]

    def split(self, source: str) -> list[Row]:
        """Split one video, or take one image, given relative to the input folder.

        Returns:
            The rows of its clips, or one row that says why there is none.
        """
        path, settings = _find_input(self.context) / source, self.settings
        if not path.is_file():
            raise MediaError("There is no such file, or its name is not UTF-8.", received=path)
        if is_image(source):
            return [self._take_image(source, path)]
        timeline = read_timeline(path)
        about: Row = {"source": source, "file_path": None}
        about |= {"start": 0.0, "end": round(timeline.seconds, MICROSECONDS)} | _measure(timeline)
        if timeline.height * timeline.width < settings.min_pixels:
            return [about | {"reason": self._too_small}]
        bounds = detect_scenes(path, settings, compat=self.context.compat, timeline=timeline)
        spans = plan_clips(bounds, timeline.seconds, settings)
        if not spans:
            return [about | {"reason": f"no scene of {settings.min_seconds:g} s"}]
        with self._fill_folder(source) as part:
            return self._cut(source, timeline, spans, part)

    @property
    def _too_small(self) -> str:
        return f"source with fewer than {self.settings.min_pixels} pixels"

    @contextmanager
    def _fill_folder(self, source: str) -> Generator[Path]:
        """A folder that takes the place of the source's when all in it is whole."""
        folder = self.context.dataset / CLIPS_FOLDER / source
        part = folder.with_name(f".{uuid4().hex}.part")  # short, because file systems limit names
        part.mkdir(parents=True)
        try:
            yield part
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _take_image(self, source: str, path: Path) -> Row:
        """The row of an image, which is copied, or written as PNG where programs would show the file differently."""
        pixels = read_image(path)
        height, width = pixels.shape[:2]
        row: Row = {"source": source, "file_path": None, "type": "image", "start": 0.0, "num_frames": 1}
        row |= {"height": height, "width": width, "pixels": height * width}
        if height * width < self.settings.min_pixels:
            return row | {"reason": self._too_small}
        copied = path.suffix.lower() in COPIED_SUFFIXES and _is_shown_alike(path, pixels)
        name = name_clip(path.stem, "0", path.suffix if copied else ".png")
        with self._fill_folder(source) as part:
            if copied:
                shutil.copyfile(path, part / name)
            else:
                write_image(part / name, pixels)
        return row | {"file_path": Path(CLIPS_FOLDER, source, name).as_posix()}

    def _cut(self, source: str, timeline: Timeline, spans: Sequence[Span], part: Path) -> list[Row]:
        """Write the clips of one video into a folder that is not yet in its place; their rows."""
        folder = Path(CLIPS_FOLDER, source)
        rows: list[Row] = []
        with closing(FrameCursor(_find_input(self.context) / source, timeline)) as cursor:
            for span in spans:
                clip = part / name_clip(Path(source).stem, span.name)
                cut = plan_cut(timeline, span.start, span.end, self.settings.fps)
                told = cut_clip(cursor, cut, clip)
                row: Row = {
                    "source": source,
                    "file_path": (folder / clip.name).as_posix(),
                    "type": "video",
                    "start": round(span.start, MICROSECONDS),
                    "end": round(span.end, MICROSECONDS),
                }
                rows.append(row | _measure(read_timeline(clip)) | told)
        return rows


def name_clip(stem: str, span: str, suffix: str = ".mp4") -> str:
    """The file name of a clip; where that is too long for a file system, the end of its stem becomes twelve digits.

    They are of a hash of the whole stem, so that names stay unique, and the same from run to run.
    """
    name = f"{stem}_{span}{suffix}"
    if len(name.encode()) <= NAME_BYTES:
        return name
    ending = f"~{hashlib.sha256(stem.encode()).hexdigest()[:12]}_{span}{suffix}"
    return stem.encode()[: NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending


def _is_shown_alike(path: Path, pixels: Frames) -> bool:
    """Whether a program that knows nothing of profiles, turns and depths shows an image as it is meant."""
    import numpy as np

    with open_image(path) as image:
        return image.size == pixels.shape[1::-1] and np.array_equal(np.asarray(image.convert("RGB")), pixels)


def _measure(timeline: Timeline) -> Row:
    return {
        "num_frames": len(timeline),
        "fps": round(timeline.fps, MICROSECONDS),
        "height": timeline.height,
        "width": timeline.width,
        "pixels": timeline.height * timeline.width,
        "duration": round(timeline.seconds, MICROSECONDS),
    }


def _find_input(context: StageContext) -> Path:
    if context.input is None:
        raise RequestError("The stage split needs raw videos.", fix="ea data split VIDEOS --out DATASET")
    return context.input
