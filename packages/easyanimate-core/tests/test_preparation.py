"""What plugins hand over for the preparation of data checks itself."""

from dataclasses import dataclass

import pytest
from easyanimate_core import FilterSpec, FrameChoice, RequestError, StageContext, StageSpec, Work


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"key": "two words", "write": dict}, "one word"),
        ({"key": "4", "write": dict}, "one word"),
        ({"key": "idle"}, "does nothing"),
        ({"key": "light", "work": Work}, "which column"),
    ],
)
def test_a_stage_does_something_under_a_name(words, says):
    with pytest.raises(RequestError, match=says):
        StageSpec(summary="", **words)
    assert StageSpec(key="light-list", summary="", write=dict).work is None


def test_values_depend_on_all_settings_unless_the_work_says_otherwise(tmp_path):
    @dataclass(frozen=True)
    class Settings:
        levels: int = 3

    class Light(Work):
        def open(self):
            return lambda rows: [{} for _ in rows]

    work = Light(Settings(), StageContext(dataset=tmp_path, gpus_per_worker=1, batch_size=4))
    assert work.depends_on == {"levels": 3}
    assert (work.batch_size, work.num_gpus) == (1, 0.0)  # a stage without a model
    assert work.check() is None
