"""Shows how far a stage is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    Item = TypeVar("Item")

LINE_EVERY_SECONDS = 30.0


def track(items: Iterable[Item], *, stage: str, total: int) -> Iterator[Item]:
    """The items, while their number is shown on standard error."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield from bars.track(items, total=total, description=stage)
        return
    begin = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            last = time.monotonic()
            left = (last - begin) / done * (total - done)
            say(f"{stage}: {done} of {total}, {left:.0f} s left")


def say(line: str) -> None:
    """Write a line on standard error."""
    import typer

    typer.echo(line, err=True)
