"""The options of a clip, made from the fields of `VideoRequest`: on the command line, and in lines of a batch file."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.config import convert
from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.options import Setting, read_summaries
from easyanimate_core.request import VideoRequest
from easyanimate_core.shapes import Fit, parse_size
from easyanimate_core.source import ROLES

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

_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "Fit": Fit}


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What was asked for, of one clip or of several with seeds that count up.

    Args:
        settings: Fields of `VideoRequest`; pictures and videos are paths.
        num_videos: How many clips.
        output: File or folder to write.
        line: Line of the batch file that these options come from.
    """

    settings: Mapping[str, Any]
    num_videos: int = 1
    output: Path | None = None
    line: int | None = None


def list_options() -> dict[str, Setting]:
    """The options of a clip by the name of their field; a new field of `VideoRequest` is an option by itself.

    `size` stands for height and width.
    """
    summaries = read_summaries(VideoRequest)
    found: dict[str, Setting] = {}
    for item in fields(VideoRequest):
        if item.name == "height":
            found["size"] = Setting("size", str, "Height x width of the result in pixels, such as 384x672.", None)
        if item.name in ("height", "width", "on_progress"):
            continue
        hint: Any = Path if item.name in ROLES else _KINDS[str(item.type).removesuffix(" | None")]
        if item.name == "start_images":
            hint = tuple[Path, ...]
        default = None if item.name == "strength" or item.default is MISSING else item.default
        flags = (item.metadata["option"],) if "option" in item.metadata else ()
        found[item.name] = Setting(_WORDS.get(item.name, item.name), hint, summaries[item.name], default, flags)
    about_output = "File or folder to write (a name from prompt and seed in outputs/ unless given)."
    found["num_videos"] = Setting("num_videos", int, "Number of clips to make, with seeds that count up.", 1)
    found["output"] = Setting("output", Path, about_output, None, ("-o",))
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
    num_videos, output = settings.pop("num_videos", 1), settings.pop("output", None)
    if num_videos < 1:
        raise RequestError("num_videos must be positive.", received=num_videos, expected="a number above 0")
    if "size" in settings:
        parse_size(settings["size"])  # a mistake is told before the model is looked for
    return ClipOptions(settings=settings, num_videos=num_videos, output=output, line=line)


@dataclass
class _Mistakes:
    """What is wrong with the lines of a batch file."""

    lines: list[str] = field(default_factory=list[str])

    def add(self, number: int, error: RequestError) -> None:
        """Note what is wrong with a line."""
        self.lines.append(f"line {number}: {error}".replace("\n  ", "\n      "))


def read_batch(path: Path, base: Mapping[str, Any]) -> list[ClipOptions]:
    """Read one clip per line of JSON; what a line leaves out comes from `base`.

    Args:
        path: The file; empty lines are passed over.
        base: Values of options from the command line.

    Raises:
        RequestError: Naming every line that cannot be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            "The batch file cannot be read.", received=f"{path}: {error}", expected="a UTF-8 file of JSON lines"
        ) from error
    clips: list[ClipOptions] = []
    mistakes = _Mistakes()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                clips.append(make_clip({**base, **_read_line(line)}, line=number))
            except RequestError as error:
                mistakes.add(number, error)
    if mistakes.lines or not clips:
        raise RequestError(
            f"The batch file {path} cannot be used; nothing was made.",
            received="\n".join(mistakes.lines[:5]) or "no lines",
            expected='one object per line, such as {"prompt": "a red circle", "seed": 7}',
        )
    return clips


def _read_line(line: str) -> dict[str, Any]:
    """The values of a line, by the names of `list_options`."""
    try:
        parsed: object = json.loads(line)
    except ValueError as error:
        raise RequestError(f"not JSON ({error})", received=line[:80]) from error
    if not isinstance(parsed, dict):
        raise RequestError("not an object", received=line[:80])
    known = {setting.name: (name, setting) for name, setting in list_options().items()}
    values: dict[str, Any] = {}
    for word, value in cast("dict[str, Any]", parsed).items():
        key = word.replace("-", "_")
        if key not in known:
            raise RequestError(f"unknown option {word}", expected=", ".join(known), fix=near_misses(key, known))
        name, setting = known[key]
        if value is not None:
            listed = [value] if setting.is_list and isinstance(value, str) else value
            values[name] = convert(listed, setting.hint, key)
    return values
