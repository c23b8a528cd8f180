"""What stages write is plain and UTF-8; what is no fault of an item ends the run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from easyanimate_core import MediaError, PluginError
from easyanimate_data.preparation.work import Worker, describe_error


@dataclass(frozen=True)
class Give:
    """Gives each row what it says, or raises it."""

    batch_size: int = 4
    num_gpus: float = 0.0

    def open(self):
        return lambda rows: [self.give(row["gives"]) for row in rows]

    def give(self, what: Any):
        if isinstance(what, Exception) and "raise" in str(what):
            raise what
        return what


def work(*gives):
    return Worker(Give())([{"gives": what} for what in gives])


def test_numbers_of_numpy_become_plain():
    (outcome,) = work({"a": np.float32(0.5), "b": np.int64(3), "c": np.arange(2), "d": (1, None), "e": float("nan")})
    assert str(outcome.values) == "{'a': 0.5, 'b': 3, 'c': [0, 1], 'd': [1, None], 'e': nan}"


def test_what_no_table_holds_costs_its_row():
    good, bad, text = work({"a": 1}, {"a": {1}}, {"a": "\ud800"})
    assert (good.values, good.error) == ({"a": 1}, None)
    assert (bad.values, bad.error) == ({}, "TypeError: a table holds numbers, text, lists and dictionaries, not set")
    assert text.error.startswith("UnicodeEncodeError")


@pytest.mark.parametrize("way", ["raise", "return"])
def test_a_missing_package_ends_the_run(way):
    with pytest.raises(PluginError, match="not installed"):
        work({"a": 1}, PluginError(f"{way}: not installed"))


def test_an_error_is_one_line_of_utf8():
    assert describe_error(MediaError("Bad\nfile.", received="/raw\udcff/a.mp4")) == r"Bad file. /raw\udcff/a.mp4"
    assert describe_error(ValueError("no\n  number")) == "ValueError: no number"
