"""What plugins hand over for the preparation of data checks itself."""

import pytest
from easyanimate_core import FilterSpec, FrameChoice, RequestError


@pytest.mark.parametrize(("kind", "value"), [("random", 1), ("uniform", 0), ("rate", -1), ("rate", float("inf"))])
def test_a_choice_chooses_something(kind, value):
    with pytest.raises(RequestError, match="uniform, middle, rate or key"):
        FrameChoice(kind, value)


def test_a_filter_names_its_column():
    assert FilterSpec(key="clip-score", summary="", load=None).column == "clip_score_score"
    assert FilterSpec(key="light", summary="", load=None, column="mean").column == "mean"


@pytest.mark.parametrize("key", ["", "two words", "a,b"])
def test_a_filter_key_is_one_word(key):
    with pytest.raises(RequestError, match="one word"):
        FilterSpec(key=key, summary="", load=None)
