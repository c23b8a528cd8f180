"""Where `ea` begins: Ctrl-C and the standard streams are taken care of before anything else is imported.

Imports no more than Python has imported already, so that there is next to no time in which Ctrl-C shows a traceback.
"""

from __future__ import annotations

import io
import os
import signal
import sys

TYPE_CHECKING = False  # importing `typing` takes time
if TYPE_CHECKING:
    from typing import Any

STOPPED_LINE = "Stopped. No unfinished file is left behind."

_MOMENT = 0.05
"""Seconds."""


class _Startup:
    """Whether the command has not begun yet: nothing is open or written, so that it may end at once."""

    lasts = False
    was_stopped = False


def end_startup() -> None:
    """From here on Ctrl-C is an exception, so that what has begun is cleaned up."""
    _Startup.lasts = False


def was_stopped() -> bool:
    """Whether Ctrl-C was pressed: libraries turn it into other errors at times, while they are imported above all."""
    return _Startup.was_stopped


def main() -> None:
    """Run `ea` with the arguments of this process, and leave with its exit code."""
    output = _prepare_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background it may be ignored
        _Startup.lasts = True
        signal.signal(signal.SIGINT, _stop)
        sys.unraisablehook = _raise_again
    from easyanimate_cli.app import main as run

    code: object = 0
    try:
        run()
    except SystemExit as leaving:
        code = leaving.code
    output.flush()
    if output.failed is not None and not isinstance(output.failed, BrokenPipeError):
        sys.stderr.write(f"Error: Standard output cannot be written: {output.failed.strerror}.\n")
        code = code or 2
    sys.exit(code if isinstance(code, int) else int(code is not None))


def _stop(*_: object) -> None:
    _Startup.was_stopped = True
    if _Startup.lasts:
        os.write(2, f"{STOPPED_LINE}\n".encode())
        os._exit(130)
    raise KeyboardInterrupt


def _raise_again(problem: sys.UnraisableHookArgs) -> None:
    """Ctrl-C in a place that cannot pass it on, such as a callback: raise it once more, a moment later."""
    if issubclass(problem.exc_type, KeyboardInterrupt):
        import threading

        again = threading.Timer(_MOMENT, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(problem)


class _Stream(io.TextIOWrapper):
    """A standard stream that never fails: when nobody can take its text any more, the text is dropped.

    What was made is kept so, and a run goes on: `ea run --num-videos 9 | head -1` makes nine videos.
    """

    failed: OSError | None = None
    """Why text was dropped."""

    def write(self, text: str, /) -> int:
        """Write, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is kept back, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self.failed is None:
            self.failed = error
            # Even what C libraries write, and what is kept back in buffers, goes nowhere from now on.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            super().flush()


def _prepare_streams() -> _Stream:
    """Put streams in place that never fail; gives standard output."""
    # A number that is free would be taken by the next file that is opened, and written to by whoever prints.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    output = _wrap(sys.stdout, 1, "easyanimate")
    sys.stdout = sys.__stdout__ = output
    sys.stderr = sys.__stderr__ = _wrap(sys.stderr, 2, "backslashreplace")
    return output


def _wrap(stream: Any, number: int, errors: str) -> _Stream:
    import codecs

    codecs.register_error("easyanimate", _encode_anyhow)
    if hasattr(stream, "line_buffering"):
        encoding, is_live = stream.encoding, stream.line_buffering
        return _Stream(stream.detach(), encoding=encoding, errors=errors, line_buffering=is_live)
    return _Stream(open(number, "wb", closefd=False), encoding="utf-8", errors=errors)


def _encode_anyhow(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a name that is not UTF-8 as they are, so that other programs find the file; else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    try:
        return text.encode("ascii", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace"), error.end
