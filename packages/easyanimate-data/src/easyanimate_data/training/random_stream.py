"""Random numbers of a training set: a stream for each purpose and key, so that any item can be made on its own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream decides. The values are part of the seed: changing one changes what a seed means."""

    ORDER = 1
    BATCH = 2
    ITEM = 3
    REPLACEMENT = 4
    CAPTION = 5
    MASK = 6
    TURN = 7


def open_stream(purpose: Purpose, seed: int, *key: int) -> np.random.Generator:
    """The same numbers for the same arguments, others for others. All keys of a purpose have one length."""
    return np.random.default_rng((int(purpose), seed, *key))
