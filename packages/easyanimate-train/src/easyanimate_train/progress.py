"""Shows how far a run is: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from easyanimate_core.request import Progress


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress, Mapping[str, float]], None]]:
    """What a trainer reports to, on standard error."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield ProgressLine(sys.stderr)
        return
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[values]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=300,
    )
    tasks: dict[str, TaskID] = {}

    def show(progress: Progress, values: Mapping[str, float]) -> None:
        if progress.phase not in tasks:
            tasks[progress.phase] = bars.add_task(progress.phase, total=progress.total, values="")
        bars.update(tasks[progress.phase], completed=progress.step, total=progress.total, values=_format(values))

    with bars:
        yield show


class ProgressLine:
    """Writes step, loss and time left, a line at a time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._phase: tuple[str, int] | None = None
        self._begin = (0, 0.0)

    def __call__(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Write one line."""
        line = f"{progress.phase} {progress.step}/{progress.total}  {_format(values)}"
        if self._phase != (progress.phase, progress.total):
            self._phase, self._begin = (progress.phase, progress.total), (progress.step, time.monotonic())
        elif progress.step > self._begin[0]:
            pace = (time.monotonic() - self._begin[1]) / (progress.step - self._begin[0])
            line += f"  {pace * (progress.total - progress.step) / 60:.1f} min left"
        self._file.write(line + "\n")
        self._file.flush()


def _format(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
