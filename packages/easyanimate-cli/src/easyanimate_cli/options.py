"""The options of a clip, made from the fields of `VideoRequest`: on the command line, and in a batch file."""

from __future__ import annotations

import secrets
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import Range
from easyanimate_core.options import Setting, read_summaries
from easyanimate_core.request import VideoRequest
from easyanimate_core.shapes import Fit, parse_size
from easyanimate_core.source import ROLES

from easyanimate_cli.batch import ACCEPTED, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {
    "num_frames": "frames",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "start_images": "image",
    "segment_frames": "segment",
    "overlap_frames": "overlap",
}
"""Settings of a request whose option is shorter than their name."""

MAX_VIDEOS = 10_000
"""Most clips of one run."""

MAX_SECONDS = 3600

_SHOWN = 5
"""Mistakes of a batch file that are named."""

DRAW = -1
"""A seed that stands for one that is drawn, as in the original."""

_SEEDS = 2**31
"""Seeds that are drawn are below: short enough to be typed again."""

_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "Fit": Fit}


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What was asked for, of one clip or of several with seeds that count up.

    Args:
        settings: Fields of `VideoRequest`; pictures and videos are paths.
        num_videos: How many clips.
        output: File or folder to write; a slash at the end means a folder.
        seconds: Length of the clip, where that was given in place of frames.
        is_drawn: Whether the seed was drawn.
        line: Line of the batch file that these options come from.
    """

    settings: Mapping[str, Any]
    num_videos: int = 1
    output: str | None = None
    seconds: float | None = None
    is_drawn: bool = False
    line: int | None = None

    @property
    def prompt(self) -> str:
        """What the clip shows."""
        return str(self.settings["prompt"])


def list_options() -> dict[str, Setting]:
    """The options of a clip by the name of their field; a new field of `VideoRequest` is an option by itself.

    `size` stands for height and width; `seconds` for frames.
    """
    summaries = read_summaries(VideoRequest)
    found: dict[str, Setting] = {}
    for item in fields(VideoRequest):
        if item.name == "height":
            about = "Length of the result in seconds, in place of --frames: the nearest that the model makes."
            found["seconds"] = Setting("seconds", float, about, None)
            about = "Height x width of the result in pixels, such as 384x672."
            found["size"] = Setting("size", str, about, None, metavar="HEIGHTxWIDTH")
        if item.name in ("height", "width", "on_progress"):
            continue
        hint: Any = Path if item.name in ROLES else _KINDS[str(item.type).removesuffix(" | None")]
        if item.name == "start_images":
            hint = tuple[Path, ...]
        default = None if item.name == "strength" or item.default is MISSING else item.default
        flags = (item.metadata["option"],) if "option" in item.metadata else ()
        found[item.name] = Setting(_WORDS.get(item.name, item.name), hint, summaries[item.name], default, flags)
    found["seed"] = replace(
        found["seed"], summary=found["seed"].summary.removesuffix(".") + "; -1 draws one and says which."
    )
    about_output = (
        "File to write (.mp4, .gif or .webp, and .png for an image), or a folder, which ends in a slash "
        "(a name from prompt and seed in outputs/ unless given). A name that is taken gets a number."
    )
    found["num_videos"] = Setting("num_videos", int, "Number of clips to make, with seeds that count up.", 1)
    found["output"] = Setting("output", str, about_output, None, ("-o",), metavar="PATH")
    return found


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of options, by the names of `list_options`, from what the command line gave.

    Raises:
        RequestError: A value does not fit.
    """
    known = list_options()
    return {name: known[name].read(value) for name, value in given.items() if value not in (None, [])}


def make_clip(values: Mapping[str, Any], *, line: int | None = None) -> ClipOptions:
    """Put values of options together, and check what stands on its own.

    Raises:
        RequestError: There is no prompt, or a value is out of range.
    """
    settings = dict(values)
    if not str(settings.get("prompt", "")).strip():
        raise RequestError(
            "The prompt is empty.", received=repr(settings.get("prompt", "")), fix='add --prompt "what to show"'
        )
    num_videos, output, seconds = (
        settings.pop("num_videos", 1),
        settings.pop("output", None),
        settings.pop("seconds", None),
    )
    Range(1, MAX_VIDEOS).check(num_videos, "num_videos")
    if output is not None and not output.strip():
        raise RequestError("The output has no name.", received=repr(output), fix="leave out --output, or name a file")
    if "size" in settings:
        parse_size(settings["size"])  # a mistake is told before the model is looked for
    if seconds is not None:
        if "num_frames" in settings:
            raise RequestError(
                "The length was given twice.",
                received=f"{settings['num_frames']} frames and {seconds:g} seconds",
                fix="give --frames or --seconds, not both",
            )
        Range(above=0, most=MAX_SECONDS).check(seconds, "seconds")
    is_drawn = settings.get("seed") == DRAW
    if is_drawn:
        settings["seed"] = secrets.randbelow(_SEEDS)
    return ClipOptions(
        settings=settings, num_videos=num_videos, output=output, seconds=seconds, is_drawn=is_drawn, line=line
    )


def merge(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of options, where those that are given come first: also in place of another word for the same."""
    others = {"seconds": "num_frames", "num_frames": "seconds"}
    replaced = {others[name] for name in given if name in others}
    return {name: value for name, value in base.items() if name not in replaced} | dict(given)


def read_batch(path: Path, base: Mapping[str, Any]) -> list[ClipOptions]:
    """Read one clip per line of a batch file; what a line leaves out comes from `base`.

    Args:
        path: See `easyanimate_cli.batch`.
        base: Values of options from the command line.

    Raises:
        RequestError: Naming every line that cannot be used, and the column.
    """
    clips: list[ClipOptions] = []
    mistakes: list[str] = []
    for number, read in read_lines(path, list_options()):
        try:
            clips.append(make_clip(merge(base, read()), line=number))
        except RequestError as error:
            mistakes.append(f"line {number}: {error}".replace("\n  ", "\n      "))
    if mistakes or not clips:
        more = len(mistakes) - _SHOWN
        raise RequestError(
            f"The batch file {path} cannot be used; nothing was made.",
            received="\n".join([*mistakes[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]) or "no lines",
            expected=ACCEPTED,
        )
    return clips
