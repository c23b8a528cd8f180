"""Shows the phases of a run as they go and measures them: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.machine import format_bytes
from easyanimate_core.request import Progress
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

if TYPE_CHECKING:
    from collections.abc import Generator

LINE_EVERY_SECONDS = 5.0


class _Reports(logging.Handler):
    """Prints what packages log to the logger `easyanimate`, such as how much of a LoRA file matched."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, above the bars."""
        self._console.print(record.getMessage(), markup=False)


class PhaseDisplay:
    """The phases of one clip after the other, on standard error, for `with`; `show` fits `VideoRequest.on_progress`.

    Between them stands what is logged to `easyanimate` meanwhile.

    Args:
        bytes_unit: Whether steps are bytes.
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
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._reports = _Reports(console)
        self._logger = logging.getLogger(PROJECT)
        self._tasks: dict[str, TaskID] = {}
        self._last_event = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        """Start drawing."""
        self._logger.addHandler(self._reports)
        self._logger.setLevel(logging.INFO)
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the cursor is back in every case."""
        self._bars.stop()
        self._logger.removeHandler(self._reports)

    def begin(self, title: str) -> None:
        """Start the next clip: forget the phases of the last one and announce this one."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        self.seconds.clear()
        self._console.print(title, markup=False)
        self._last_event = self._last_line = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Take in one step. The time since the step before counts for its phase."""
        now = time.monotonic()
        spent = self.seconds.get(progress.phase, 0.0) + now - self._last_event
        self.seconds[progress.phase] = spent
        self._last_event = now
        if self._console.is_terminal:
            self._draw(progress)
        elif progress.step == progress.total or now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            self._console.print(self._line(progress, spent), markup=False)

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Show a phase of a single step around the body."""
        self.show(Progress(name, 0, 1))
        yield
        self.show(Progress(name, 1, 1))

    def _draw(self, progress: Progress) -> None:
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = self._bars.add_task(progress.phase, total=progress.total)
        self._bars.update(self._tasks[progress.phase], completed=progress.step, total=progress.total)

    def _line(self, progress: Progress, spent: float) -> str:
        step, total = (format_bytes(n) if self._bytes_unit else str(n) for n in (progress.step, progress.total))
        done = f"{progress.phase} {step}/{total}, {spent:.1f} s"
        if not 0 < progress.step < progress.total:
            return done
        return f"{done}, {spent / progress.step * (progress.total - progress.step):.0f} s left"
