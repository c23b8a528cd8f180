from easyanimate_core import EasyAnimateError
from easyanimate_core.errors import near_misses


def test_an_error_shows_only_what_it_knows():
    assert str(EasyAnimateError("Wrong.")) == "Wrong."
    error = EasyAnimateError("Wrong.", received=0, expected="1", fix="use 1")
    assert str(error).splitlines() == ["Wrong.", "  received: 0", "  accepted: 1", "  to do:    use 1"]


def test_an_error_fills_no_terminal():
    error = EasyAnimateError("Wrong.", received="x" * 100_000)
    assert str(error).endswith("x... (100,000 characters)")
    assert len(str(error)) < 5000


def test_near_misses():
    assert near_misses("eular", ["euler", "euler_a", "ddim"]) == "did you mean euler or euler_a?"
    assert near_misses("eulr", ["euler", "pndm"]) == "did you mean euler?"
    assert near_misses("zzz", ["euler"]) is None
    assert near_misses("x", []) is None
