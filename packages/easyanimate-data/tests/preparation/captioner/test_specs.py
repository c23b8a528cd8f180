import inspect

import pytest
from easyanimate_data.preparation.captioner.specs import CAPTIONERS


def test_both_take_the_options_of_a_text():
    assert [spec.key for spec in CAPTIONERS] == ["transformers", "openai"]
    for spec in CAPTIONERS:
        options = inspect.signature(spec.load).parameters
        assert {"model", "max_tokens", "temperature", "top_p", "seed"} <= set(options)
        with pytest.raises(TypeError, match="colour"):
            spec.load(colour="red")
