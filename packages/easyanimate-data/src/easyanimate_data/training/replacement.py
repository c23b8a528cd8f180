"""Reads a sample, or others instead while they cannot be read, each within a limit of time."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from easyanimate_core.errors import MediaError
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

Result = TypeVar("Result")

TIME_LIMIT = 20.0
"""Seconds that a sample may take."""

MAX_REPLACEMENTS = 10

_LOG = logging.getLogger("easyanimate.data")


def list_candidates(kinds: NDArray[Any], index: int, rng: np.random.Generator) -> Iterator[int]:
    """The index itself, then others of its kind ([N]: that of every index) at random, up to `MAX_REPLACEMENTS`."""
    yield index
    others = np.flatnonzero(kinds == kinds[index])
    others = others[others != index]
    yield from rng.choice(others, size=min(len(others), MAX_REPLACEMENTS), replace=False).tolist()


def shorten(error: MediaError) -> str:
    """The text of an error on one line."""
    return " ".join(str(error).split())


class TimedReader:
    """Reads samples and keeps count of the bad ones.

    Args:
        seconds: Time limit for a sample. A file that takes longer is left to a thread that nobody waits for.
        name: What a sample is called in messages.
    """

    def __init__(self, seconds: float = TIME_LIMIT, name: Callable[[int], str] = "sample {}".format) -> None:
        self.seconds = seconds
        self._name = name
        self.bad: list[str] = []
        """One line for each sample that was replaced, in this process."""

    def read_first(
        self, indices: Iterable[int], read: Callable[[int], Result], *, report: bool = True
    ) -> tuple[Result, list[str]]:
        """Read the first of `indices` that can be read.

        Args:
            indices: The sample, and others to read instead.
            read: Reads one.
            report: Log and count the bad ones.

        Returns:
            What `read` gave, and a line for each one that was bad.

        Raises:
            MediaError: Why the first cannot be read, when the others cannot be read either.
        """
        bad: list[str] = []
        first: MediaError | None = None
        for index in indices:
            try:
                return self.read(read, index), bad
            except MediaError as error:
                first = first or error
                bad.append(f"{self._name(index)} is replaced by another: {shorten(error)}")
                if report:
                    self.bad.append(bad[-1])
                    _LOG.warning(bad[-1])
        raise first or MediaError("No sample was given to read.")

    def read(self, read: Callable[[int], Result], index: int) -> Result:
        """Read one sample.

        Raises:
            MediaError: When it cannot be read, or not in time.
        """
        future: Future[Result] = Future()

        def work() -> None:
            try:
                future.set_result(read(index))
            except BaseException as error:  # noqa: BLE001 (raised where the result is waited for)
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        try:
            return future.result(self.seconds)
        except TimeoutError as error:
            raise MediaError(
                "A sample takes too long.", received=f"{self._name(index)}: over {self.seconds:g} seconds"
            ) from error
        except (MemoryError, Image.DecompressionBombError) as error:
            raise MediaError("A sample is too large.", received=f"{self._name(index)}: {error}") from error
