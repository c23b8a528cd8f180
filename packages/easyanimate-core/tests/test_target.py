"""Functions named by their place are imported when they are called."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from easyanimate_core.errors import PluginError
from easyanimate_core.target import Later, Target


def test_it_imports_when_it_is_called():
    sys.modules.pop("colorsys", None)
    target = Target("colorsys:rgb_to_hsv")
    assert "colorsys" not in sys.modules
    assert target(1.0, 0.0, 0.0) == (0.0, 1.0, 1.0)
    assert list(inspect.signature(target).parameters) == ["r", "g", "b"]


def test_it_may_be_a_method_of_a_class():
    assert Target("builtins:dict.fromkeys")("ab", 0) == {"a": 0, "b": 0}
    with pytest.raises(PluginError, match=r"builtins has no dict\.of"):
        Target("builtins:dict.of")()


def test_a_module_that_is_not_there_is_named_and_one_that_lacks_a_library_is_not_blamed(tmp_path, monkeypatch):
    with pytest.raises(PluginError, match="no module colorsis"):
        Target("colorsis:rgb_to_hsv")()
    (tmp_path / "lacking.py").write_text("import colorsis", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="colorsis"):
        Target("lacking:anything")()


@dataclass(frozen=True)
class Spec:
    """Has a field that must be given, and one that need not."""

    load: Later[Callable[..., Any]] = Later()
    check: Later[Callable[..., Any] | None] = Later(default=None)


def test_a_field_takes_a_function_or_its_place():
    assert Spec(len).load is len
    assert Spec(len).check is None
    spec = replace(Spec("operator:add", check="operator:sub"), load="operator:mul")
    assert (spec.load(2, 5), spec.check(2, 5)) == (10, -3)
    with pytest.raises(TypeError, match="load"):
        Spec()


@pytest.mark.parametrize("place", ["colorsys", "colorsys:", ":name", "color sys:name", "colorsys:two..names"])
def test_other_forms_are_refused(place):
    with pytest.raises(PluginError, match="names no function"):
        Target(place)


def test_a_missing_name_is_told():
    with pytest.raises(PluginError, match="colorsys has no rgb_to_cmyk"):
        Target("colorsys:rgb_to_cmyk")()
