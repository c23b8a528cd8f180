import numpy as np
import pytest
from easyanimate_data.shapes.caption import (
    LANGUAGES,
    NAMES_ZH,
    VOCABULARY_EN,
    VOCABULARY_ZH,
    Combination,
    canonical_caption,
    describe,
)
from easyanimate_data.shapes.clip import COMBINATIONS


def test_canonical_captions():
    combination = Combination("circle", "red", "right")
    assert canonical_caption(combination) == "a red circle moves to the right"
    assert canonical_caption(combination, "zh") == "一个红色的圆形向右移动"


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_name_everything_and_vary(language):
    rng = np.random.default_rng(0)
    for combination in COMBINATIONS:
        captions = {describe(combination, rng=rng, language=language) for _ in range(20)}
        assert len(captions) > 3
        for name in (combination.shape, combination.colour, combination.direction):
            assert all((name if language == "en" else NAMES_ZH[name]) in caption for caption in captions)


def test_canonical_captions_differ():
    for language in LANGUAGES:
        assert len({canonical_caption(combination, language) for combination in COMBINATIONS}) == len(COMBINATIONS)


def test_vocabularies_cover_captions_and_stay_small():
    rng = np.random.default_rng(1)
    for combination in COMBINATIONS:
        assert set(describe(combination, rng=rng).split()) <= set(VOCABULARY_EN)
        assert set(describe(combination, rng=rng, language="zh")) <= set(VOCABULARY_ZH)
    assert len(VOCABULARY_EN) < 40
    assert len(VOCABULARY_ZH) < 40


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'hexagon' is none of circle"):
        Combination("hexagon", "red", "right")
