import inspect

import pytest
from easyanimate_data.plugin import ea_captioners


def test_both_take_the_options_of_a_text():
    captioners = list(ea_captioners())
    assert [spec.key for spec in captioners] == ["transformers", "openai"]
    for spec in captioners:
        options = inspect.signature(spec.load).parameters
        assert {"model", "max_tokens", "temperature", "top_p", "seed"} <= set(options)
        with pytest.raises(TypeError, match="colour"):
            spec.load(colour="red")
