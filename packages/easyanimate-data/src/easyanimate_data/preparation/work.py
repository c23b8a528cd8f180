"""Does a stage's work on rows, wherever it runs: a failure costs its row, not the run."""

from __future__ import annotations

import errno
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import EasyAnimateError, MediaError, PluginError

from easyanimate_data.preparation.journal import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easyanimate_core import Work

    from easyanimate_data.preparation.table import Row

_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Worker:
    """Work that is opened when the first rows come, in one process."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._function: Callable[[Sequence[Row]], Sequence[dict[str, Any] | Exception]] | None = None

    def __call__(self, rows: Sequence[Row]) -> list[Outcome]:
        """Do the work; each row's failure is its own.

        Raises:
            EasyAnimateError: When the work cannot be opened, lacks a package, or the disk is full.
        """
        if self._function is None:
            limit_threads()
            self._function = self._work.open()
        begin = time.perf_counter()
        try:
            results = self._function(rows)
            outcomes = [_outcome(result) for result in results]
        except Exception as error:  # noqa: BLE001 (whatever a broken file makes a decoder do)
            stop_run(error)
            if len(rows) > 1:  # one of them spoilt the batch
                return [outcome for row in rows for outcome in self([row])]
            outcomes = [_outcome(error)]
        seconds = (time.perf_counter() - begin) / max(len(rows), 1)
        return [replace(outcome, seconds=round(seconds, 4)) for outcome in outcomes]


def limit_threads() -> None:
    """Let a worker use one core, so that as many workers as cores do not get in one another's way.

    Decoders are silenced, too: what they say of broken files stands in the table.
    """
    import logging

    import av.logging
    import cv2
    import scenedetect  # noqa: F401 (it sets the level of its log, which must come before what is set here)

    av.logging.set_level(av.logging.PANIC)
    logging.getLogger("pyscenedetect").setLevel(logging.CRITICAL)
    cv2.setNumThreads(1)


def describe_error(error: BaseException) -> str:
    """An error on one line, in valid UTF-8 whatever file name it holds."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, EasyAnimateError):
        said = error.message if error.received is None else f"{error.message} {error.received}"
    return " ".join(said.split()).encode(errors="backslashreplace").decode()


def _outcome(result: dict[str, Any] | Exception) -> Outcome:
    """What is written into journal and table: plain numbers, UTF-8 text, lists and dictionaries, or why it is not."""
    if isinstance(result, Exception):
        stop_run(result)
        return Outcome(error=describe_error(result))
    return Outcome(values=json.loads(json.dumps(result, ensure_ascii=False, default=_to_plain).encode()))


def _to_plain(value: Any) -> Any:
    """The Python value of a NumPy or PyTorch value."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a table holds numbers, text, lists and dictionaries, not {type(value).__name__}")


def stop_run(error: BaseException) -> None:
    """Raise what is no fault of a row: a missing package, or a full disk, after which the run can go on.

    Raises:
        EasyAnimateError: With what to do.
    """
    if isinstance(error, PluginError):
        raise error
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.errno in _DISK_FULL:
            raise MediaError(
                "The disk is full; the run has stopped, and what was finished is kept.",
                received=reason.filename or reason.strerror,
                expected="space for the clips",
                fix="make space, then run the same command with --resume",
            ) from error
        reason = reason.__cause__ or reason.__context__
