"""What a user sees when something fails: one screen on standard error, and the exit code."""

from __future__ import annotations

import os
import traceback

import typer
from easyanimate_core.errors import EasyAnimateError
from easyanimate_core.printable import printable

from easyanimate_cli.start import STOPPED_LINE, was_stopped

BUG, MISTAKE, STOPPED = 1, 2, 130


def report(error: BaseException) -> int:
    """Print `error` for people and give the exit code; with EA_DEBUG set, the traceback too."""
    if os.environ.get("EA_DEBUG"):
        traceback.print_exception(error)
    if was_stopped():
        error = KeyboardInterrupt()
    if isinstance(error, OSError) and error.strerror:  # a disk that fails, a name that is too long: no bug
        error = EasyAnimateError(f"A file cannot be read or written: {error.strerror}.", received=error.filename)
    if isinstance(error, EasyAnimateError):
        typer.echo(f"Error: {error}", err=True)
        return MISTAKE
    if isinstance(error, KeyboardInterrupt):
        typer.echo(STOPPED_LINE, err=True)
        return STOPPED
    if isinstance(error, MemoryError):
        typer.echo("Error: This machine has too little memory for that.", err=True)
        return MISTAKE
    first = (str(error).strip() or "no message").splitlines()[0]
    typer.echo(f"Bug: {type(error).__name__}: {printable(first)}", err=True)
    typer.echo("  to do:    run it again as `ea --debug ...` and report what it prints", err=True)
    return BUG
