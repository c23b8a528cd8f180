"""Words of a prompt that weights do not know are named."""

import json

import pytest
from easyanimate_core import WeightsError, WeightsFolder
from easyanimate_core.vocabulary import Vocabulary

SHAPES = Vocabulary("moving shapes", frozenset({"a", "red", "circle", "圆", "形"}))


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red circle", []),
        ("A RED, circle!", []),
        ("a cat, a snow and a Cat", ["cat", "snow", "and", "Cat"]),
        ("圆形", []),
        ("红圆形circle狗", ["红", "狗"]),
        ("", []),
    ],
)
def test_unknown_words(prompt, unknown):
    assert SHAPES.list_unknown(prompt) == unknown


def test_the_line():
    assert SHAPES.warn("a red circle") is None
    assert SHAPES.warn("a cat in a circle") == "These weights know moving shapes; unknown to them: cat, in."
    many = SHAPES.warn("one two three four five six seven eight nine")
    assert many == (
        "These weights know moving shapes; unknown to them: one, two, three, four, five, six, seven, eight and others."
    )


@pytest.mark.parametrize(
    ("prompts", "known"), [(None, None), ({"about": "cats", "words": ["Cat"]}, Vocabulary("cats", frozenset({"cat"})))]
)
def test_it_comes_from_the_settings_of_the_weights(tmp_path, prompts, known):
    content = {"defaults": {}} if prompts is None else {"prompts": prompts}
    (tmp_path / "easyanimate.json").write_text(json.dumps(content), encoding="utf-8")
    assert WeightsFolder(tmp_path).vocabulary == known
    assert WeightsFolder(tmp_path / "none").vocabulary is None


@pytest.mark.parametrize("prompts", [[], {"about": "x"}, {"about": 1, "words": []}, {"about": "x", "words": "cat"}])
def test_settings_that_are_no_vocabulary(tmp_path, prompts):
    (tmp_path / "easyanimate.json").write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
    with pytest.raises(WeightsError):
        _ = WeightsFolder(tmp_path).vocabulary
