"""Rules drop clips one after the other; each says why; `compat` repeats the original's gaps."""

import pytest
from easyanimate_core import MediaError
from easyanimate_data.preparation.duplicate import Unalike
from easyanimate_data.preparation.rule import Threshold, apply_rules, describe_numbers, refuse_nothing_left
from easyanimate_data.preparation.table import ClipTable

NAMES = ["good", "ugly", "still", "texty", "unscored", "broken", "nothing"]


@pytest.fixture
def table():
    table = ClipTable()
    for name in NAMES[:-1]:
        table.extend([{"source": "a.mp4", "file_path": f"clips/a.mp4/{name}.mp4", "beauty": 5.0, "motion": 3.0}])
    table.extend([{"source": "b.mp4", "file_path": None, "reason": "no scene of 3 s"}])
    table.update(0, {"text": 0.0})
    table.update(1, {"beauty": 2.0})  # dropped by beauty, so it never got a text score
    table.update(2, {"motion": 0.5, "text": 0.01})
    table.update(3, {"text": 0.4})
    table.update(5, {"error": "motion: cannot be read", "text": 0.0})
    return table


RULES = [Threshold("beauty", 4.0), Threshold("motion", 2.0, 20.0), Threshold("text", None, 0.02)]


def reasons(table):
    return dict(zip(NAMES, table.column("reason"), strict=True))


def test_filters_are_cumulative(table):
    apply_rules(table, RULES)
    assert reasons(table) == {
        "good": None,
        "ugly": "beauty < 4",
        "still": "motion < 2",
        "texty": "text > 0.02",
        "unscored": "no text",
        "broken": "error in motion",
        "nothing": "no scene of 3 s",
    }


def test_compat_lets_through_what_the_last_score_file_lacks(table):
    """A case of the original: rejected for its looks, no text score, captioned all the same."""
    apply_rules(table, RULES, compat=True)
    assert reasons(table)["ugly"] is None
    assert reasons(table)["unscored"] is None
    assert reasons(table)["texty"] == "text > 0.02"


def test_compat_drops_duplicates_beside_the_last_threshold(table):
    for index in (0, 1):
        table.update(index, {"perceptual_hash": "0" * 48})
    apply_rules(table, [Threshold("beauty", 4.0), Threshold("motion", 2.0), Unalike(2)], compat=True)
    assert reasons(table)["ugly"] == "looks like another clip"
    assert reasons(table)["still"] == "motion < 2"


def test_bounds_can_be_tried_again(table):
    apply_rules(table, [Threshold("beauty", 9.0)])
    assert not table.find_kept()
    apply_rules(table, [Threshold("beauty", 1.0), Threshold("motion")])
    assert len(table.find_kept()) == 5


def test_the_first_of_clips_that_look_alike_stays(table):
    for index, digits in enumerate(["0" * 48, "0" * 47 + "1", "f" * 48, "0" * 48, None]):
        table.update(index, {"perceptual_hash": digits})
    apply_rules(table, [Threshold("beauty", 4.0), Unalike(2)])
    assert reasons(table)["texty"] == "looks like another clip"
    assert reasons(table)["good"] is None
    assert table.column("duplicate_of")[3] == "clips/a.mp4/good.mp4"
    assert table.column("duplicate_of")[1] is None  # it was dropped before


def test_a_bound_that_drops_everything_is_an_error_with_the_distribution(table):
    apply_rules(table, [Threshold("motion", 100.0)])
    with pytest.raises(MediaError, match=r"motion < 100; motion: 6 clips from 0\.5 to 3.*median 3[\s\S]*--resume"):
        refuse_nothing_left(table, "motion", "motion")
    apply_rules(table, [])
    refuse_nothing_left(table, "motion", "motion")


def test_errors_that_drop_everything_are_told(table):
    for index in range(6):
        table.update(index, {"error": "caption: the server is down", "reason": "error in caption"})
    with pytest.raises(
        MediaError, match=r"6 with an error, most often caption: the server is down[\s\S]*--retry-errors"
    ):
        refuse_nothing_left(table, "caption", None)


def test_what_is_no_number_has_no_number(table):
    for index, value in enumerate(["high", [5.0], float("nan"), {"score": 1}]):
        table.update(index, {"motion": value})
    apply_rules(table, [Threshold("motion", 2.0)])
    assert [table.column("reason")[index] for index in range(4)] == ["no motion"] * 4
    assert describe_numbers(table.column("motion")).startswith("2 clips")
