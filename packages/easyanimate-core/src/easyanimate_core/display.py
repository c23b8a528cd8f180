"""Shows on standard error how far a run is, and measures it: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.machine import format_bytes
from easyanimate_core.printable import printable
from easyanimate_core.request import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

LINE_EVERY_SECONDS = 5.0
"""Time between two lines where there is no terminal; the last step of a phase always has one."""

_SPEED_SECONDS = 300.0
"""The time left is estimated from the steps of this long: training reports a step every few minutes."""


class _LogHandler(logging.Handler):
    """Prints what packages log to the logger `easyanimate`, such as how much of a LoRA file matched."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, above the bars; a note is worth reading, but nothing is wrong."""
        is_warning = record.levelno >= logging.WARNING and not getattr(record, "is_note", False)
        text = printable(record.getMessage(), keep="\n")
        self._console.print(f"{'Warning: ' if is_warning else ''}{text}", markup=False)


class PhaseDisplay:
    """The phases of a run, as a context manager.

    Whatever is logged to `easyanimate` inside its block is printed above the bars. `show` can be passed as
    `VideoRequest.on_progress` and as `on_progress` of a training.

    Args:
        bytes_unit: Steps are bytes.
    """

    def __init__(self, *, bytes_unit: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        """Seconds per phase since `begin`, in order."""
        self._console = console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bytes_unit = bytes_unit
        self._bars = Bars(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            DownloadColumn() if bytes_unit else MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            # Where both are a terminal, standard output is drawn above the bars; else it must reach its file.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            speed_estimate_period=_SPEED_SECONDS,
        )
        self._handler = _LogHandler(console)
        self._logger = logging.getLogger(PROJECT)
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[int, float]] = {}
        """Step and seconds of the first report of each phase: a resumed run does not begin at step 0."""
        self._last_event = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        """Start drawing."""
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.INFO)
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the cursor is back in every case."""
        self._bars.stop()
        self._logger.removeHandler(self._handler)

    def begin(self, title: str) -> None:
        """Start the next piece of work: forget the phases of the last one and print a title."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        self._first.clear()
        self.seconds.clear()
        self._console.print(printable(title), markup=False)
        self._last_event = self._last_line = time.monotonic()

    def show(self, progress: Progress, values: Mapping[str, float] | None = None) -> None:
        """Report a step; the time since the report before counts for its phase.

        Args:
            progress: The phase and its steps.
            values: Numbers to show beside it, such as the loss.
        """
        now = time.monotonic()
        spent = self.seconds.get(progress.phase, 0.0) + now - self._last_event
        self.seconds[progress.phase] = spent
        self._first.setdefault(progress.phase, (progress.step, spent))
        self._last_event = now
        text = "  ".join(f"{name} {value:.4g}" for name, value in (values or {}).items())
        if self._console.is_terminal:
            self._draw(progress, text)
        elif progress.step == progress.total or now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            self._console.print("  ".join(filter(None, (self._line(progress, spent), text))), markup=False)

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Show a phase of a single step around the body."""
        self.show(Progress(name, 0, 1))
        yield
        self.show(Progress(name, 1, 1))

    def _draw(self, progress: Progress, values: str) -> None:
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = self._bars.add_task(progress.phase, total=progress.total, values="")
        self._bars.update(self._tasks[progress.phase], completed=progress.step, total=progress.total, values=values)

    def _line(self, progress: Progress, spent: float) -> str:
        step, total = (format_bytes(n) if self._bytes_unit else str(n) for n in (progress.step, progress.total))
        done = f"{progress.phase} {step}/{total}, {_format_time(spent)}"
        first_step, first_spent = self._first[progress.phase]
        if not first_step < progress.step < progress.total:
            return done
        pace = (spent - first_spent) / (progress.step - first_step)
        return f"{done}, {_format_time(pace * (progress.total - progress.step))} left"


def _format_time(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is short."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < 6000:  # noqa: PLR2004
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
