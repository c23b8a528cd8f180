"""Prints tables: coloured and as wide as a terminal, or plain and as wide as their words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def open_console(*, error: bool = False) -> Console:
    """A console for standard output, or for standard error; without a terminal it prints plain lines."""
    return Console(file=sys.stderr if error else sys.stdout, highlight=False, soft_wrap=True)


def print_table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), console: Console | None = None) -> None:
    """Print rows of text in columns; cells of a terminal are folded to fit."""
    console = console or open_console()
    if not console.is_terminal:
        for line in _align([*([header] if header else []), *rows]):
            console.print(line, markup=False, soft_wrap=True)
        return
    table = Table(
        *header, show_header=bool(header), box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
    )
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]
