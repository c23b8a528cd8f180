"""Ranges of settings: read, and checked where a dataclass is made directly."""

import math
from dataclasses import dataclass
from typing import Annotated

import pytest
from easyanimate_core.config import read_config, read_options
from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import SHARE, Range, check_ranges


@dataclass(frozen=True)
class Settings:
    rate: Annotated[float, Range(above=0, below=1)] = 0.5
    free: float = 0.0
    count: Annotated[int | None, Range(1, 9)] = None
    pairs: Annotated[tuple[tuple[float, ...], ...], Range(0)] = ((1.0,),)
    on: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, "own.")


@pytest.mark.parametrize(
    "values",
    [
        {"rate": 0},
        {"rate": 1},
        {"rate": math.nan},
        {"free": math.inf},
        {"free": -math.inf},
        {"count": 0},
        {"count": 10},
        {"pairs": ((1, -0.5),)},
        {"free": 10**400},
    ],
)
def test_a_dataclass_refuses_numbers_out_of_its_ranges(values):
    with pytest.raises(RequestError, match=rf"own\.{next(iter(values))}.* is out of range[\s\S]*accepted: a "):
        Settings(**values)


@pytest.mark.parametrize("word", ["rate=0", "rate=.nan", "rate=nan", "free=1e999", "count=0", "pairs=[[1], [-1e-9]]"])
def test_reading_refuses_them_by_their_names(word):
    with pytest.raises(RequestError, match=rf"^{word.partition('=')[0]}.* is out of range[\s\S]*accepted: a "):
        read_config(Settings, None, [word])


def test_what_is_in_range_is_read():
    words = ["rate=1e-3", "free=-5", "count=9", "pairs=[[0], [2, 3e0]]", "on=false"]
    assert read_config(Settings, None, words) == Settings(0.001, -5.0, 9, ((0.0,), (2.0, 3.0)), on=False)
    assert read_config(Settings, None, ["count=null"]).count is None


@pytest.mark.parametrize(
    ("bounds", "text"),
    [(Range(), ""), (Range(1), "at least 1"), (SHARE, "from 0 to 1"), (Range(above=0), "above 0")],
)
def test_bounds_in_words(bounds, text):
    assert str(bounds) == text


def paint(path: str, *, opacity: Annotated[float, SHARE] = 1.0, layers: Annotated[int, Range(1)] = 1) -> None:
    """Take options."""


def test_options_of_a_function_are_checked_by_its_signature():
    assert read_options(paint, {"path": "a", "opacity": "5e-1"}, "paint.options") == {"path": "a", "opacity": 0.5}
    for options, message in (
        ({"path": "a", "opacity": 2}, r"paint\.options\.opacity is out of range"),
        ({"path": "a", "layers": "many"}, r"paint\.options\.layers must be a whole number[\s\S]*at least 1"),
        ({"path": "a", "opacitee": 2}, r"Unknown setting paint\.options\.opacitee[\s\S]*did you mean opacity"),
        ({}, r"A setting is missing[\s\S]*paint\.options\.path"),
    ):
        with pytest.raises(RequestError, match=message):
            read_options(paint, options, "paint.options")


def test_a_file_without_an_end_is_no_configuration(tmp_path):
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes among its files")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="cannot be read"):
        read_config(Settings, tmp_path / "pipe")
