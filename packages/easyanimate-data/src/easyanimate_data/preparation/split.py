"""The stage `split`: raw videos to clips, whole files at a time."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from easyanimate_core import Work
from easyanimate_core.errors import MediaError, RequestError

from easyanimate_data.frames import Timeline, read_timeline
from easyanimate_data.preparation.cut import cut_clip, find_ffmpeg
from easyanimate_data.preparation.folder import CLIPS_FOLDER
from easyanimate_data.preparation.scene import MICROSECONDS, detect_scenes, plan_clips
from easyanimate_data.preparation.source import list_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from easyanimate_core import StageContext

    from easyanimate_data.preparation.scene import Span
    from easyanimate_data.preparation.table import Row

_logger = logging.getLogger("easyanimate.data")

LENGTH_SLACK_SECONDS = 0.1
"""What the length of a whole clip may differ from its scene, beside a frame and a half."""


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
        """The raw videos as well."""
        context = self.context
        return {"input": str(_find_input(context)), **asdict(self.settings), "compat": context.compat}

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any]]]:
        """Check that there is an ffmpeg."""
        find_ffmpeg()
        return lambda rows: [{"clips": self.split(str(row["source"]))} for row in rows]

    def split(self, source: str) -> list[Row]:
        """Split one video, given relative to the input folder; the rows of its clips, or one row that says why none."""
        path, dataset, settings = _find_input(self.context) / source, self.context.dataset, self.settings
        if not path.is_file():
            raise MediaError("There is no such file, or its name is not UTF-8.", received=path)
        timeline = read_timeline(path)
        about: Row = {"source": source, "file_path": None}
        about |= {"start": 0.0, "end": round(timeline.seconds, MICROSECONDS)} | _measure(timeline)
        if timeline.height * timeline.width < settings.min_pixels:
            return [about | {"reason": f"source with fewer than {settings.min_pixels} pixels"}]
        spans = plan_clips(detect_scenes(path, settings, compat=self.context.compat), timeline.seconds, settings)
        if not spans:
            return [about | {"reason": f"no scene of {settings.min_seconds:g} s"}]
        folder = dataset / CLIPS_FOLDER / source
        part = folder.with_name(f".{uuid4().hex}.part")  # short, because file systems limit names
        part.mkdir(parents=True)
        try:
            rows: list[Row] = []
            for span in spans:
                clip = part / f"{Path(source).stem}_{span.name}.mp4"
                cut_clip(path, clip, start=span.start, seconds=span.end - span.start)
                name = (folder / clip.name).relative_to(dataset).as_posix()
                row: Row = {
                    "source": source,
                    "file_path": name,
                    "start": span.start,
                    "end": round(span.end, MICROSECONDS),
                }
                written = read_timeline(clip)
                _refuse_damage(written, span, path, timeline.fps)
                rows.append(row | _measure(written))
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return rows


def _refuse_damage(written: Timeline, span: Span, source: Path, fps: float) -> None:
    """A clip is as long as its scene, but for a frame at each end; decoders patch up what is damaged."""
    wanted = span.end - span.start
    if abs(written.seconds - wanted) > LENGTH_SLACK_SECONDS + 1.5 / fps:
        raise MediaError(
            "A clip is not as long as its scene; the video is damaged.",
            received=f"{source}: {written.seconds:.2f} s",
            expected=f"{wanted:.2f} s from {span.start:.2f} s on",
        )


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
