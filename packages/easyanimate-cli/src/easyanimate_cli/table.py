"""Prints tables: folded into a terminal, or as plain lines where there is none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def print_table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), error: bool = False) -> None:
    """Print rows of text in columns, on standard output or on standard error."""
    rows = list(rows)
    stream = sys.stderr if error else sys.stdout
    if not stream.isatty():
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


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
