"""Reads a sample, or others in its place while they cannot be read, each within a limit of time."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from easyanimate_core.errors import MediaError
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Result = TypeVar("Result")

TIME_LIMIT = 20.0
"""Seconds that a sample may take."""

MAX_REPLACEMENTS = 10

_logger = logging.getLogger(__name__)


def list_candidates(kinds: Sequence[str], index: int, rng: np.random.Generator) -> Iterator[int]:
    """The index itself, then others of its kind at random, up to `MAX_REPLACEMENTS`."""
    yield index
    others = np.flatnonzero(np.asarray(kinds) == kinds[index])
    others = others[others != index]
    yield from rng.choice(others, size=min(len(others), MAX_REPLACEMENTS), replace=False).tolist()


class SampleReader:
    """Reads samples and keeps count of the bad ones.

    Args:
        seconds: What a sample may take. A file that takes longer is left to a thread that nobody waits for.
    """

    def __init__(self, seconds: float = TIME_LIMIT) -> None:
        self.seconds = seconds
        self.bad: list[str] = []
        """One line for each sample that was replaced, in this process."""

    def read_first(self, indices: Iterable[int], read: Callable[[int], Result]) -> tuple[Result, list[str]]:
        """Read the first of `indices` that can be read.

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
                line = f"sample {index} is replaced by another: {' '.join(str(error).split())}"
                bad.append(line)
                self.bad.append(line)
                _logger.warning(line)
        raise first or MediaError("There is nothing to read.")

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
            raise MediaError("A sample takes too long.", received=f"over {self.seconds:g} seconds") from error
        except (MemoryError, Image.DecompressionBombError) as error:
            raise MediaError("A sample is too large.", received=error) from error
