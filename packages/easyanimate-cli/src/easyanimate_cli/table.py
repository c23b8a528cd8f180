"""Prints tables: folded into a terminal, or as plain lines where there is none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer
from easyanimate_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def print_table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), error: bool = False) -> None:
    """Print rows of text in columns, on standard output or on standard error; no cell can steer a terminal."""
    rows = [[printable(cell) for cell in row] for row in rows]
    stream = sys.stderr if error else sys.stdout
    if not is_terminal(stream):
        for line in _align([header, *rows] if header else rows):
            typer.echo(line, file=stream)
        return
    # Only here: rich takes a tenth of a second to import.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        *header, show_header=bool(header), box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
    )
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(file=stream).print(table)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; where there is none, it is not."""
    return stream is not None and stream.isatty()


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
