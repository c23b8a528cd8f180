"""What plugins hand over for the preparation of data: scores of clips, and models that write captions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from easyanimate_core.errors import RequestError
from easyanimate_core.target import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easyanimate_core.errors import MediaError


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a clip a filter or a captioner looks at.

    Args:
        kind: "uniform": `value` frames from the whole clip, the first at its start. "middle": the one in the middle.
            "rate": `value` frames a second. "key": the first frame and every key frame, `value` of them at the most.
        value: A count, or frames per second; "middle" needs none.
    """

    kind: Literal["uniform", "middle", "rate", "key"]
    value: float = 1

    def __post_init__(self) -> None:
        """Refuse what chooses nothing."""
        if self.kind not in ("uniform", "middle", "rate", "key") or not 0 < self.value < math.inf:
            raise RequestError(
                "This chooses no frames.",
                received=f"{self.kind} {self.value}",
                expected="uniform, middle, rate or key, and a number above 0",
            )


@dataclass(frozen=True, kw_only=True)
class FilterSpec:
    """A score of clips and the range in which a clip is kept: a stage of `ea data prepare`.

    Args:
        key: Name of the stage: "motion".
        summary: One line for `ea data filters`.
        load: Called once per worker with the options of the stage; gives the scoring function. It takes the chosen
            frames, uint8 [T, H, W, 3], with `uses_text` also the clip's caption, and returns a number, or a mapping of
            column names to values. A text is its place: "my_package.light:load". None: the column is in the table
            already.
        frames: Which frames are looked at.
        column: The number that is compared; `KEY_score` when empty.
        minimum: The least that is kept, unless the user says otherwise; None keeps all.
        maximum: The most that is kept.
        uses_text: Whether the function takes the caption as well; clips without one are passed over.
        batched: Whether it takes lists (of frames, of captions) and returns a list.
    """

    key: str
    summary: str
    load: Later[Callable[..., Callable[..., Any]] | None] = Later()
    frames: FrameChoice = FrameChoice("uniform", 4)
    column: str = ""
    minimum: float | None = None
    maximum: float | None = None
    uses_text: bool = False
    batched: bool = False

    def __post_init__(self) -> None:
        """Refuse keys that cannot be typed in a list; name the column."""
        if not self.key or any(char.isspace() or char == "," for char in self.key):
            raise RequestError("A filter key is one word.", received=repr(self.key), expected="for example motion")
        if not self.column:
            object.__setattr__(self, "column", f"{self.key.replace('-', '_')}_score")


@runtime_checkable
class Captioner(Protocol):
    """Writes text about clips; with no frames it only goes by the instruction, which is how captions are rewritten."""

    def __call__(self, instructions: Sequence[str], clips: Sequence[Any]) -> list[str | MediaError]:
        """Answer each instruction.

        Args:
            instructions: What to write, one per clip.
            clips: Frames uint8 [T, H, W, 3] per instruction, or None where there are none.

        Returns:
            Per instruction the text, or an error, not raised, where this one alone failed; retries are over by then.

        Raises:
            EasyAnimateError: When no instruction could be answered: a model that reads no frames, a refused key.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CaptionerSpec:
    """A model that writes text about frames, or about text: `--captioner KEY`.

    Args:
        key: Name on the command line: "transformers", "openai".
        summary: One line for `ea data filters`.
        load: Called once per worker with the options of the stage; gives a `Captioner`. A text is its place.
    """

    key: str
    summary: str
    load: Later[Callable[..., Captioner]] = Later()
