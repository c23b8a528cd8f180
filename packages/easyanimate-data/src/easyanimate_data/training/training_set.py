"""A training set of clips and images, which `ea train` reads under the name `json`: a list, looked through once.

What is made of it for a step is told in `batches.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.number_range import Range, check_ranges

from easyanimate_data.frames import Reader
from easyanimate_data.training.batches import TrainingBatches
from easyanimate_data.training.entry import read_entries
from easyanimate_data.training.frame_rate import warn_of_rates
from easyanimate_data.training.inspection import inspect_entries
from easyanimate_data.training.replacement import TIME_LIMIT

if TYPE_CHECKING:
    from easyanimate_core.dataset import BatchRule

    from easyanimate_data.training.entry import Entry

SHOWN_MISTAKES = 20
"""The most rows that a message lists."""

_LOG = logging.getLogger("easyanimate.data")


class _Rows(NamedTuple):
    entries: tuple[Entry, ...]
    skipped: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class TrainingSet:
    """The rows of a dataset whose files can be opened.

    Every file is opened once, when the set is made; the workers that the set is sent to do not do it again.

    Args:
        path: A list or a folder, as `read_entries` takes it.
        root: What relative paths start from; by default the folder of the file.
        reader: "pyav", or "decord" where it is installed.
        seconds: Time limit for reading a sample.
        strict: Refuse a set with rows that cannot be used; else they are left out, and a warning lists them.

    Raises:
        MediaError: When the list is not of this format; when no row can be used, or with `strict` any, listing them.
        RequestError: When an option has no meaning.
    """

    path: Path
    root: Path | None = None
    reader: Reader = "pyav"
    seconds: Annotated[float, Range(above=0, most=3600)] = TIME_LIMIT
    strict: bool = False

    def __post_init__(self) -> None:
        """Open the files, so that a mistake shows before anything is computed."""
        check_ranges(self)
        if self.reader not in get_args(Reader):
            raise RequestError("There is no such reader.", received=self.reader, expected=" or ".join(get_args(Reader)))
        entries, skipped, total = self._rows
        num_empty = sum(not entry.text.strip() for entry in entries)
        if num_empty:
            _LOG.warning(
                "%s of %s rows (%.0f %%) of %s have no caption, and teach nothing of what prompts mean. "
                "Write captions with `ea data caption` or `ea data captions`.",
                f"{num_empty:,}",
                f"{len(entries):,}",
                100 * num_empty / len(entries),
                self.path,
            )
        if not skipped:
            return
        shown, more = skipped[:SHOWN_MISTAKES], len(skipped) - SHOWN_MISTAKES
        lines = "\n    ".join(["", *shown, *([f"and {more:,} more"] if more > 0 else [])])
        if self.strict or len(skipped) == total:
            raise MediaError(
                f"{len(skipped):,} of {total:,} rows of {self.path} cannot be used.",
                received=lines,
                expected="rows of file_path, text and type, whose files can be read",
                fix="repair or remove them; without strict, rows that cannot be used are left out",
            )
        _LOG.warning("%s of %s rows of %s are left out:%s", f"{len(skipped):,}", f"{total:,}", self.path, lines)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The rows that can be used, all with height and width."""
        return self._rows.entries

    @property
    def skipped(self) -> tuple[str, ...]:
        """A line for each row that cannot be used."""
        return self._rows.skipped

    @cached_property
    def _rows(self) -> _Rows:
        listing = read_entries(self.path, self.root)
        good, unreadable = inspect_entries(listing.entries, self.seconds)
        mistakes = sorted((listing.mistakes | unreadable).items())
        skipped = tuple(f"row {row}: {mistake}" for row, mistake in mistakes)
        return _Rows(tuple(good), skipped, len(good) + len(skipped))

    def __len__(self) -> int:
        """How many rows can be used."""
        return len(self.entries)

    def batched(self, rule: BatchRule, *, seed: int) -> TrainingBatches:
        """Batches of one kind and one size each. It is logged where the frame rates of clips make motion uneven.

        Raises:
            RequestError: When the rule has no meaning here, or leaves nothing.
        """
        warning = warn_of_rates(self.entries, rule.fps)
        if warning:
            _LOG.warning("%s: %s", self.path, warning)
        return TrainingBatches(
            self.entries, rule, seed=seed, reader=self.reader, seconds=self.seconds, skipped=self.skipped
        )


def open_training_set(
    path: Path | str,
    root: Path | str | None = None,
    *,
    reader: Reader = "pyav",
    seconds: Annotated[float, Range(above=0, most=3600)] = TIME_LIMIT,
    strict: bool = False,
) -> TrainingSet:
    """Open the dataset `json`; see `TrainingSet`."""
    return TrainingSet(Path(path), None if root is None else Path(root), reader, seconds, strict)
