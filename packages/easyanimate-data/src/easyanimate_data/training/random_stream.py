"""Random numbers of a training set: a stream for each purpose and place, so that any item can be made on its own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream decides. The numbers are part of the seed: changing one changes what a seed means."""

    ORDER = 1
    BATCH = 2
    ITEM = 3
    REPLACEMENT = 4


def open_stream(purpose: Purpose, seed: int, epoch: int, place: int = 0, detail: int = 0) -> np.random.Generator:
    """The same numbers for the same arguments; independent ones for others."""
    return np.random.default_rng((int(purpose), seed, epoch, place, detail))
