"""What the user asks for, clip by clip: from the command line, or from the lines of a batch file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_type_hints

from easyanimate_core.errors import RequestError, near_misses


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """The options of one clip; None takes the default of the weights or of the model.

    Args:
        prompt: What to show.
        negative_prompt: What to avoid.
        size: "HEIGHTxWIDTH" in pixels.
        frames: Number of frames; 1 makes an image.
        fps: Frames per second.
        steps: Denoising steps.
        guidance: Classifier-free guidance.
        sampler: Name of the sampler.
        seed: Seed of the first clip.
        num_videos: How many clips, with seeds counting up.
        image: Frames that the clip begins with.
        end_image: Frame that the clip ends with.
        video: Source clip.
        mask: Image or video that is white where to generate.
        strength: How much of the source clip is replaced.
        segment: Long video: frames made at a time.
        overlap: Long video: frames that neighbours share.
        output: File to write.
        line: Line of the batch file that these options come from.
    """

    prompt: str
    negative_prompt: str = ""
    size: str | None = None
    frames: int | None = None
    fps: float | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    seed: int = 0
    num_videos: int = 1
    image: tuple[Path, ...] = ()
    end_image: Path | None = None
    video: Path | None = None
    mask: Path | None = None
    strength: float | None = None
    segment: int | None = None
    overlap: int | None = None
    output: Path | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        """Check what stands on its own."""
        if not self.prompt.strip():
            raise RequestError("The prompt is empty.", received=repr(self.prompt), fix='add --prompt "what to show"')
        if self.num_videos < 1:
            raise RequestError("num_videos must be positive.", received=self.num_videos, expected="a number above 0")
        if self.size is not None:
            parse_size(self.size)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from "HEIGHTxWIDTH"."""
    match = re.fullmatch(r"(\d+)[xX*](\d+)", text.strip())
    if not match:
        raise RequestError(
            "A size is height x width in pixels.",
            received=text,
            expected="HEIGHTxWIDTH",
            fix="for example --size 384x672",
        )
    return int(match[1]), int(match[2])


def read_batch(path: Path, base: dict[str, Any]) -> list[ClipOptions]:
    """Read one clip per line of JSON; what a line leaves out comes from `base`.

    Args:
        path: The file; empty lines are passed over.
        base: Options from the command line, by name.

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
    mistakes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                values: dict[str, Any] = {"prompt": "", **base, **_read_line(line), "line": number}
                clips.append(ClipOptions(**values))
            except RequestError as error:
                mistakes.append(f"line {number}: {error}".replace("\n  ", "\n      "))
    if mistakes or not clips:
        raise RequestError(
            f"The batch file {path} cannot be used; nothing was made.",
            received="\n".join(mistakes[:5]) or "no lines",
            expected='one object per line, such as {"prompt": "a red circle", "seed": 7}',
        )
    return clips


def _read_line(line: str) -> dict[str, Any]:
    try:
        parsed: object = json.loads(line)
    except ValueError as error:
        raise RequestError(f"not JSON ({error})", received=line[:80]) from error
    if not isinstance(parsed, dict):
        raise RequestError("not an object", received=line[:80])
    values = cast("dict[str, Any]", parsed)
    hints = {name: hint for name, hint in get_type_hints(ClipOptions).items() if name != "line"}
    result: dict[str, Any] = {}
    for name, value in values.items():
        key = name.replace("-", "_")
        if key not in hints:
            raise RequestError(f"unknown option {name}", expected=", ".join(hints), fix=near_misses(key, hints))
        result[key] = _convert(key, hints[key], value)
    return result


def _convert(name: str, hint: Any, value: Any) -> Any:
    """Give `value` from JSON the type of the option `name`."""
    kinds: tuple[Any, ...] = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    if hint == tuple[Path, ...]:
        items = cast("list[object]", value if isinstance(value, list) else [value])
        if all(isinstance(item, str) for item in items):
            return tuple(Path(str(item)) for item in items)
    if isinstance(value, str) and (str in kinds or Path in kinds):
        return value if str in kinds else Path(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if float in kinds:
            return float(value)
        if int in kinds and isinstance(value, int):
            return value
    accepted = "a text or a list of texts" if hint == tuple[Path, ...] else " or ".join(_name(kind) for kind in kinds)
    raise RequestError(f"wrong kind of value for {name}", received=json.dumps(value), expected=accepted)


def _name(kind: Any) -> str:
    names = {str: "a text", Path: "a text", int: "a whole number", float: "a number", type(None): "null"}
    return names[kind]
