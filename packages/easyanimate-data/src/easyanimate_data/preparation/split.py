"""The stage `split`: raw videos to clips, whole files at a time."""

from __future__ import annotations

import hashlib
import logging
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from easyanimate_core import Work
from easyanimate_core.errors import MediaError, RequestError

from easyanimate_data.frames import FrameCursor, read_timeline
from easyanimate_data.preparation.cut import cut_clip, plan_cut
from easyanimate_data.preparation.folder import CLIPS_FOLDER
from easyanimate_data.preparation.scene import MICROSECONDS, detect_scenes, plan_clips
from easyanimate_data.preparation.source import list_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from easyanimate_core import StageContext

    from easyanimate_data.frames import Timeline
    from easyanimate_data.preparation.scene import Span
    from easyanimate_data.preparation.table import Row

_logger = logging.getLogger("easyanimate.data")

NAME_BYTES = 255
"""What file systems take as a name."""


def find_sources(context: StageContext) -> tuple[str, ...]:
    """The raw videos below the input folder, relative to it; what else lies there is told.

    Raises:
        MediaError: When there are none.
    """
    sources = list_sources(_find_input(context), leave_out=context.dataset)
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
        """The raw videos as well. What is not set is not noted, so that runs of earlier releases go on."""
        settings = {name: value for name, value in asdict(self.settings).items() if value is not None}
        return {"input": str(_find_input(self.context)), **settings, "compat": self.context.compat}

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any]]]:
        """Nothing has to be loaded."""
        return lambda rows: [{"clips": self.split(str(row["source"]))} for row in rows]

    def split(self, source: str) -> list[Row]:
        """Split one video, given relative to the input folder; the rows of its clips, or one row that says why none."""
        path, settings = _find_input(self.context) / source, self.settings
        if not path.is_file():
            raise MediaError("There is no such file, or its name is not UTF-8.", received=path)
        timeline = read_timeline(path)
        about: Row = {"source": source, "file_path": None}
        about |= {"start": 0.0, "end": round(timeline.seconds, MICROSECONDS)} | _measure(timeline)
        if timeline.height * timeline.width < settings.min_pixels:
            return [about | {"reason": f"source with fewer than {settings.min_pixels} pixels"}]
        bounds = detect_scenes(path, settings, compat=self.context.compat, timeline=timeline)
        spans = plan_clips(bounds, timeline.seconds, settings)
        if not spans:
            return [about | {"reason": f"no scene of {settings.min_seconds:g} s"}]
        folder = self.context.dataset / CLIPS_FOLDER / source
        part = folder.with_name(f".{uuid4().hex}.part")  # short, because file systems limit names
        part.mkdir(parents=True)
        try:
            rows = self._cut(source, timeline, spans, part)
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return rows

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
                    "start": round(span.start, MICROSECONDS),
                    "end": round(span.end, MICROSECONDS),
                }
                rows.append(row | _measure(read_timeline(clip)) | told)
        return rows


def name_clip(stem: str, span: str) -> str:
    """The file name of a clip; where that is too long for a file system, its middle is put into twelve digits.

    The digits are a hash of the whole, so that names stay unique, and the same from run to run.
    """
    name = f"{stem}_{span}.mp4"
    if len(name.encode()) <= NAME_BYTES:
        return name
    ending = f"~{hashlib.sha256(stem.encode()).hexdigest()[:12]}_{span}.mp4"
    return stem.encode()[: NAME_BYTES - len(ending)].decode(errors="ignore") + ending


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
