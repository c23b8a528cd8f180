"""What plugins hand over for the preparation of data: stages, scores of clips, and models that write captions."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from easyanimate_core.errors import RequestError
from easyanimate_core.target import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

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
            column names to values. A text is its import path: "my_package.light:load". None: the column is in the table
            already.
        frames: Which frames are looked at.
        column: The number that is compared; `KEY_score` when empty.
        minimum: The least that is kept, unless the user says otherwise; None keeps all.
        maximum: The most that is kept.
        check: Called with the options, those with defaults as well, before the first stage of a run; raises an
            `EasyAnimateError` when a package, a model or a file is missing that `load` will need. It loads nothing.
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
    check: Later[Callable[..., None] | None] = Later(default=None)

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
        load: Called once per worker with the options of the stage; gives a `Captioner`. A text is its import path.
        check: Called with the options, those with defaults as well, before the first stage of a run; raises an
            `EasyAnimateError` when a package, a model or a server is missing that `load` will need. It loads nothing.
    """

    key: str
    summary: str
    load: Later[Callable[..., Captioner]] = Later()
    check: Later[Callable[..., None] | None] = Later(default=None)


class ClipTable(Protocol):
    """The table of a data set: a row for each clip, and for each source that gave none."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Copies of the rows in order: `source`, `file_path`, `reason` (why a clip was dropped) and further columns."""
        ...

    def column(self, name: str) -> list[Any]:
        """The values of a column by row index, which can be changed; a new column is filled with None."""
        ...

    def find_kept(self) -> list[int]:
        """Row indices of the clips that no rule has dropped."""
        ...


class Dataset(Protocol):
    """A data set in the making, as a stage that writes files is given it."""

    @property
    def path(self) -> Path:
        """Its folder, which the `file_path` of a row is relative to."""
        ...

    @property
    def table(self) -> ClipTable:
        """Its clips."""
        ...


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What a stage is told beside its own settings.

    Args:
        dataset: Folder of the data set; the `file_path` of a row is relative to it.
        input: Folder of the raw videos; None where a command takes none.
        reader: What decodes clips: "pyav" or "decord".
        batch_size: Rows that a model is given at a time.
        gpus_per_worker: Graphics cards for each worker on a Ray cluster.
        compat: Whether to give the original's numbers where they differ from what is right.
    """

    dataset: Path
    input: Path | None = None
    reader: Literal["pyav", "decord"] = "pyav"
    batch_size: int = 8
    gpus_per_worker: float = 0.0
    compat: bool = False


@dataclass(frozen=True)
class Work(ABC):
    """What a stage does to rows; an engine pickles it to its workers, in each of which it is opened once.

    Args:
        settings: Of the stage.
        context: What else the stage is told.
    """

    settings: Any
    context: StageContext

    @property
    def batch_size(self) -> int:
        """Rows at a time. Killed, a run loses what it did to these."""
        return 1

    @property
    def num_gpus(self) -> float:
        """Graphics cards for each worker on a Ray cluster."""
        return 0.0

    @property
    def depends_on(self) -> Mapping[str, Any]:
        """What the values depend on, for JSON: a run with others cannot go on with the values of an earlier one."""
        return dataclasses.asdict(self.settings)

    def check(self) -> None:  # noqa: B027 (most work has nothing to check)
        """Refuse settings that cannot work, before any stage runs.

        Raises:
            EasyAnimateError: With what is accepted.
        """

    def check_needs(self) -> None:  # noqa: B027 (most work needs nothing)
        """Refuse where a package, a model, a file or a server is missing, before any stage runs; nothing is loaded.

        Raises:
            EasyAnimateError: With what is missing.
        """

    @abstractmethod
    def open(self) -> Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any] | Exception]]:
        """Load what the work needs; an error here ends the run.

        Returns:
            A function from rows to the new values of each by column, or to the error that this row alone costs.
        """


class Rule(Protocol):
    """What drops clips: a dataclass whose fields JSON can hold, because a data set notes with which it was filtered."""

    def find_dropped(self, table: ClipTable, indices: Sequence[int], *, compat: bool) -> dict[int, str]:
        """The reason for each row that is dropped.

        Args:
            table: The clips.
            indices: Rows of the clips that the stages before this one keep.
            compat: Whether to decide as the original.
        """
        ...

    def gives(self, reason: str) -> bool:
        """Whether a reason is one of this rule's, which the report shows by stage."""
        ...


@dataclass(frozen=True)
class NoSettings:
    """A stage without settings."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A stage of `ea data prepare`: it fills columns, drops clips, writes a file, or more than one of these.

    A stage that is a score with bounds is shorter as a `FilterSpec`.

    Args:
        key: Name of the stage, and of its settings: `brightness.levels` is a field of those of "brightness".
        summary: One line for `ea data filters`.
        settings: A dataclass whose fields have defaults.
        work: Fills columns: a class of `Work`, made with settings and context.
        column: The column by which a clip is known to be done; needed with `work`.
        rule: Drops clips: makes the `Rule` of the settings.
        write: Writes a file: called with the settings and the `Dataset`, gives its path.
        find_sources: For the first stage of a data set: called with the settings and the `StageContext`, it gives the
            sources. The work is then given rows with a `source` alone, and answers each with {"clips": rows}. Folders
            that it is still writing have names of the form `.*.part`.

    `work`, `rule`, `write` and `find_sources` can be given by their places: "my_package.brightness:Brightness".
    """

    key: str
    summary: str
    settings: type[Any] = NoSettings
    work: Later[Callable[[Any, StageContext], Work] | None] = Later(default=None)
    column: str = ""
    rule: Later[Callable[[Any], Rule] | None] = Later(default=None)
    write: Later[Callable[[Any, Any], Path] | None] = Later(default=None)
    find_sources: Later[Callable[[Any, StageContext], Sequence[str]] | None] = Later(default=None)

    def __post_init__(self) -> None:
        """Refuse keys that cannot be names of settings, and stages that do nothing."""
        if not self.key.replace("-", "_").isidentifier():
            raise RequestError("A stage key is one word.", received=repr(self.key), expected="for example brightness")
        if not (self.work or self.rule or self.write):
            raise RequestError(f"The stage {self.key} does nothing.", expected="one of work, rule and write")
        if self.work and not (self.column or self.find_sources):
            raise RequestError(
                f"The stage {self.key} does not say which column it fills.", expected="column, beside work"
            )
