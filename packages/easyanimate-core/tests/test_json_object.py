import os

import pytest
from easyanimate_core.errors import MediaError, WeightsError
from easyanimate_core.json_object import MAX_DEPTH, JsonObject, parse_object, read_object
from easyanimate_core.printable import printable


def parse(text):
    return parse_object(text, "config.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1]", "no names and values"),
        ("null", "no names and values"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 5000 + "}", "4300"),
        ('{"a": 1, "a": 2}', "the key a stands there twice"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ('{"a": ' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}", "nested too deeply"),
        (b'{"a": "\xff"}', "utf-8"),
    ],
)
def test_what_is_no_plain_json_is_refused(text, reason):
    with pytest.raises(WeightsError, match=r"config\.json") as caught:
        parse(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_depth_and_size_have_bounds():
    assert list(parse('{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}")) == ["a"]
    with pytest.raises(WeightsError, match="too much JSON"):
        parse_object('{"a": 1}', "x", max_bytes=7)


def test_a_file_is_read_up_to_its_bound(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"layers": 3}', encoding="utf-8")
    assert read_object(file).count("layers") == 3
    with pytest.raises(MediaError, match="too much JSON"):
        read_object(file, max_bytes=5, error=MediaError)
    with pytest.raises(WeightsError, match="nothing there"):
        read_object(tmp_path / "b.json")
    with pytest.raises(WeightsError):
        read_object(tmp_path / "a\0.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFO in folders")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="something else"):
        read_object(tmp_path / "pipe")


def test_values_come_by_type():
    fields = parse(
        '{"name": "x", "layers": 3, "rate": 24, "ratio": 0.5, "on": false, "none": null, "shape": [1, 2],'
        ' "names": ["a"], "inner": {"rate": 1.5}, "rows": [{"n": 1}]}'
    )
    assert fields.text("name") == fields.text("name", accepted=["x", "y"]) == "x"
    assert fields.count("layers") == 3
    assert (fields.number("rate"), fields.number("ratio", most=1)) == (24.0, 0.5)
    assert fields.boolean("on") is False
    assert fields.count("none", 7) == fields.count("absent", 7) == 7
    assert fields.counts("shape") == [1, 2]
    assert fields.texts("names") == ["a"]
    assert fields.object("inner").number("rate") == 1.5
    assert [row.count("n") for row in fields.objects("rows")] == [1]
    assert ("none" in fields, "absent" in fields, "on" in fields) == (False, False, True)


@pytest.mark.parametrize(
    ("text", "ask", "message"),
    [
        ('{"n": 3.0}', lambda f: f.count("n", most=9), "received: 3.0\n  accepted: a whole number from 0 to 9"),
        ('{"n": true}', lambda f: f.count("n"), "received: True"),
        ('{"n": 100000000}', lambda f: f.count("n", most=1000), "from 0 to 1,000"),
        ('{"n": "3"}', lambda f: f.count("n"), "received: 3"),
        ('{"n": 1e300}', lambda f: f.number("n", most=1000), "a number from"),
        ('{"n": ' + "9" * 400 + "}", lambda f: f.number("n"), "a number from"),
        ('{"n": 0}', lambda f: f.number("n", above=0, most=9), "a number above 0, at most 9"),
        ('{"n": false}', lambda f: f.number("n"), "a number"),
        ('{"n": 1}', lambda f: f.boolean("n"), "true or false"),
        ('{"n": 1}', lambda f: f.text("n"), "a text"),
        ('{"n": "\\ud800"}', lambda f: f.text("n"), r"received: \\ud800"),
        ('{"n": "cubic"}', lambda f: f.text("n", accepted=["cubics"]), "did you mean cubics?"),
        ('{"n": null}', lambda f: f.text("n"), "n is missing in config.json\n  received: null"),
        ('{"m": 1}', lambda f: f.text("n"), "the keys m"),
        ('{"n": [1, 2.5]}', lambda f: f.counts("n"), "n[1] does not fit"),
        ('{"n": [1, 2]}', lambda f: f.counts("n", most=1), "a list of at most 1"),
        ('{"n": {"m": "x"}}', lambda f: f.object("n").count("m"), "n.m does not fit in config.json"),
        ('{"n": [{}, 3]}', lambda f: f.objects("n"), "n[1] does not fit"),
        ('{"layer": 1}', lambda f: f.only(["layers"]), "did you mean layers?"),
        ('{"n": "\\u001b]0;title\\u0007\\nto do: x"}', lambda f: f.count("n"), r"received: \x1b]0;title\x07\nto do: x"),
    ],
)
def test_what_does_not_fit_is_named(text, ask, message):
    with pytest.raises(WeightsError) as caught:
        ask(parse(text))
    assert message.replace(r"\\", "\\") in str(caught.value)


def test_errors_are_short_and_of_the_class_that_was_asked_for():
    with pytest.raises(MediaError) as caught:
        JsonObject({"a": ["x" * 10_000]}, "clip.mp4", error=MediaError).count("a")
    assert len(str(caught.value)) < 500


def test_text_of_others_cannot_steer_a_terminal():
    assert printable("a\x1b[31mb\r\n\x9bc\u202ed\ud800 ü 漢") == "a\\x1b[31mb\\r\\n\\x9bc\\u202ed\\ud800 ü 漢"
    assert printable("a\nb", keep="\n") == "a\nb"
    assert str(WeightsError("a\x1b[2J", received="b\x07")) == "a\\x1b[2J\n  received: b\\x07"
