"""Writes generated shapes clips as a dataset on disk: mp4 files and the dataset JSON that training reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError
from easyanimate_core.number_range import NOT_NEGATIVE, Range, check_ranges
from easyanimate_core.request import Video
from easyanimate_core.video import write_video

from easyanimate_data.shapes.caption import LANGUAGES, Language
from easyanimate_data.shapes.clip import COUNT, FRAMES, SIDE, ShapesClips, Style, check_size
from easyanimate_data.training.entry import DATASET_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS_NAME = "shapes.json"


@dataclass(frozen=True, kw_only=True)
class ShapesSettings:
    """Everything that determines the files; the same settings give the same clips.

    Args:
        count: Number of clips.
        seed: Seed of everything random; the same seed gives the same clips.
        num_frames: Frames of a clip.
        height: Height in pixels.
        width: Width in pixels.
        fps: Frames per second.
        languages: Languages of the captions, drawn evenly.
        style: Draws filled shapes, or their contours alone.
    """

    count: Annotated[int, COUNT]
    seed: Annotated[int, NOT_NEGATIVE] = 0
    num_frames: Annotated[int, FRAMES] = field(default=16, metadata={"option": "--frames"})
    height: Annotated[int, SIDE] = 64
    width: Annotated[int, SIDE] = 64
    fps: Annotated[float, Range(1, 1000)] = 8.0
    languages: tuple[Language, ...] = field(default=LANGUAGES, metadata={"option": None})
    style: Style = "filled"

    def __post_init__(self) -> None:
        """Refuse what gives no clip."""
        check_ranges(self)
        check_size(self.num_frames, self.height, self.width)


def write_shapes(
    folder: Path, settings: ShapesSettings, *, on_clip: Callable[[int, int], None] = lambda _done, _total: None
) -> Path:
    """Write the clips of `settings` and the dataset JSON.

    An interrupted run goes on where it stopped: whole clips are kept. The JSON comes last, so that a folder that has
    one is complete.

    Args:
        folder: New, empty, or left by a run with the same settings.
        settings: What to write.
        on_clip: Called with clips done and all clips, after each.

    Returns:
        Path of the dataset JSON.

    Raises:
        MediaError: When the folder holds anything else, or cannot be written.
    """
    try:
        _claim_folder(folder, settings)
        clips = ShapesClips(
            settings.count,
            settings.seed,
            num_frames=settings.num_frames,
            height=settings.height,
            width=settings.width,
            languages=settings.languages,
            style=settings.style,
        )
        rows: list[dict[str, str]] = []
        for index, caption in enumerate(clips.captions):
            name = f"clips/{index:06d}.mp4"
            if not (folder / name).exists():
                write_video(folder / name, Video(clips.frames(index), settings.fps))
            rows.append({"file_path": name, "text": caption, "type": "video"})
            on_clip(index + 1, settings.count)
        with atomic_path(folder / DATASET_NAME) as part:
            part.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MediaError(
            f"The dataset cannot be written: {error.strerror or error}.",
            received=folder,
            expected="a folder that can be written, with space on its disk",
            fix="choose another with --out",
        ) from error
    return folder / DATASET_NAME


def _claim_folder(folder: Path, settings: ShapesSettings) -> None:
    """Write the settings into a new or empty folder; accept one that has the same."""
    text = json.dumps(asdict(settings), indent=2) + "\n"
    path = folder / SETTINGS_NAME
    if path.is_file():
        if path.read_text(encoding="utf-8") == text:
            return
        raise MediaError(
            "The folder holds shapes clips with other settings.",
            received=folder,
            expected=f"the settings in {path}",
            fix="choose another folder with --out, or delete this one",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MediaError(
            "The folder is not empty.",
            received=folder,
            expected="a new or empty folder, or one that an interrupted run left",
            fix="choose another folder with --out",
        )
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
