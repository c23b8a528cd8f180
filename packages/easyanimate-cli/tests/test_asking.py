"""How people ask: prompts that stand alone, seeds that are drawn, seconds, a model that is left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from easyanimate_cli import run as run_module
from easyanimate_core import PluginError
from easyanimate_core.manifest import read_manifest

RUN = ("run", "--model", "fake")


def test_a_prompt_may_stand_alone(ea, fake):
    assert ea("run", "a red circle", "-m", "fake").out == f"{Path('outputs/fake-a-red-circle-0.mp4')}\n"
    assert ea("run", "-m", "fake", "a blue circle", "--seed", 1).code == 0
    assert [request.prompt for request in fake.requests] == ["a red circle", "a blue circle"]


@pytest.mark.parametrize("args", [(), ("run",), ("models",), ("models", "show"), ("fakes", "count"), ("rerun",)])
def test_short_help(ea, args):
    result = ea(*args, "-h")
    assert result.code == 0
    assert result.out == ea(*args, "--help").out
    assert "Usage: ea" in result.out


def test_a_seed_is_drawn_told_and_kept(ea, fake):
    results = [ea(*RUN, "x", "--seed", -1, "--num-videos", 2, "-o", f"{number}.mp4") for number in range(2)]
    seeds = [int(re.search(r"The seed (\d+) was drawn\.", result.err)[1]) for result in results]
    assert seeds[0] != seeds[1]
    assert [request.seed for request in fake.requests] == [seeds[0], seeds[0] + 1, seeds[1], seeds[1] + 1]
    assert read_manifest(Path("1-2.mp4")).seed == seeds[1] + 1
    assert "Identical" in ea("rerun", "1-2.mp4").err


def test_each_line_of_a_batch_draws_its_own(ea, fake):
    Path("b.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert ea(*RUN, "--batch", "b.txt", "--seed", -1).code == 0
    assert len({request.seed for request in fake.requests}) == 2


@pytest.mark.parametrize(
    ("args", "frames", "told"),
    [
        ((2,), 16, None),
        ((3,), 24, None),
        ((2.1,), 16, "2.1 seconds become 2: 16 frames at 8 per second."),
        ((2, "--fps", 12), 24, None),
        ((1, "--fps", 12), 16, "1 seconds become 1.33: 16 frames at 12 per second."),
        ((0.1,), 8, "0.1 seconds become 1: 8 frames at 8 per second."),
        ((20, "--segment", 16, "--overlap", 4), 160, None),
        ((1.6, "--video", "video.mp4"), 16, None),
    ],
)
@pytest.mark.usefixtures("media")
def test_seconds(ea, fake, args, frames, told):
    result = ea(*RUN, "x", "--seconds", *args)
    assert result.code == 0, result.err
    assert fake.requests[0].num_frames == frames
    assert ("seconds become" in result.err) == (told is not None)
    assert told is None or told in result.err


def test_a_line_of_a_batch_says_frames_or_seconds_instead_of_the_command_line(ea, fake):
    Path("b.csv").write_text("prompt,frames,seconds\na,8,\nb,,3\nc,,\n", encoding="utf-8")
    assert ea(*RUN, "--batch", "b.csv", "--seconds", 2).code == 0
    assert [request.num_frames for request in fake.requests] == [8, 24, 16]


def test_the_newest_model_is_taken_and_told(ea, fake, monkeypatch):
    asked = []

    def open_fake(key, **options):
        asked.append(key)
        return original("fake", **options)

    original = run_module.open_model
    monkeypatch.setattr(run_module, "open_model", open_fake)
    result = ea("run", "x")
    assert result.code == 0, result.err
    assert asked == ["v4"]
    assert "The model is v4, the newest that is installed; --model names another." in result.err
    assert len(fake.requests) == 1


def test_the_newest_of_several():
    assert run_module.choose_model(dict.fromkeys(["v2", "v10", "v9", "other"])) == "v10"
    assert run_module.choose_model({"other": None}) == "other"
    with pytest.raises(PluginError, match="accepted: one, two"):
        run_module.choose_model(dict.fromkeys(["one", "two"]))
    with pytest.raises(PluginError, match="pip install easyanimate-v4"):
        run_module.choose_model({})


JSON = '{"prompt": "a red\u2028circle"}\n{"prompt": "zwei\x85", "seed": 3}\n'
CSV = 'Prompt\n"a red, circle"\n'


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        ("b.jsonl", JSON.encode("utf-8-sig"), ["a red\u2028circle", "zwei\x85"]),
        ("b.jsonl", JSON.encode("utf-16"), ["a red\u2028circle", "zwei\x85"]),
        ("b.jsonl", JSON.encode("utf-16-le"), ["a red\u2028circle", "zwei\x85"]),
        ("b.jsonl", JSON.encode("utf-16-be"), ["a red\u2028circle", "zwei\x85"]),
        ("b.any", JSON.replace("\n", "\r\n\r\n").encode(), ["a red\u2028circle", "zwei\x85"]),
        ("b.txt", "一个红色的圆形\r\n\r\n  a, b  \r\n".encode("utf-8-sig"), ["一个红色的圆形", "a, b"]),
        ("b.txt", b"seed\n7\n", ["seed", "7"]),
        ("b.csv", b'prompt,seed\r\n"a red, ""big"" circle",7\r\n\r\ntwo,\r\n', ['a red, "big" circle', "two"]),
        ("b.csv", "\ufeffprompt;seed\nrot, grün;7\n".encode(), ["rot, grün"]),
        ("b.tsv", b"seed\tprompt\n7\ta\n", ["a"]),
        ("b.txt", b"negative-prompt,prompt\nblur,a\n", ["a"]),
        ("b.csv", b'prompt\n"two\nlines"\nb', ["two\nlines", "b"]),
    ],
)
def test_batch_files(ea, fake, name, content, prompts):
    Path(name).write_bytes(content)
    result = ea(*RUN, "--batch", name)
    assert result.code == 0, result.err
    assert [request.prompt for request in fake.requests] == prompts


@pytest.mark.usefixtures("media")
def test_values_of_a_csv(ea, fake):
    Path("b.csv").write_text("prompt,image,image,frames,guidance\na,image.png,image.png,8,2.5\n", encoding="utf-8")
    assert ea(*RUN, "--batch", "b.csv").code == 0
    [request] = fake.requests
    assert (len(request.start_images), request.num_frames, request.guidance_scale) == (2, 8, 2.5)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b.csv", b"promt,seed\na,1\n", ("line 1, column 1", "promt", "did you mean prompt")),
        ("b.csv", b"prompt,seed,seed\na,1,2\n", ("line 1, column 3", "twice")),
        ("b.csv", b"prompt,seed\na,1\nb,two\n", ("line 3", "column 2", "--seed must be a whole number", "'two'")),
        ("b.csv", b'prompt,seed\n"a\nb",1\nc,x\n', ("line 4", "column 2")),
        ("b.csv", b"prompt,seed\na red, round circle,1\n", ("line 2", "column 3", "quotes")),
        ("b.csv", b'prompt,seed\n"a,1\n', ("CSV", "line 2")),
        ("b.csv", b"prompt,seed\n,1\n", ("line 2", "prompt is empty")),
        ("b.csv", b"prompt\n", ("no lines",)),
        ("b.jsonl", b'{"prompt": "a"}\n{"prompt": "b" "seed": 1}\n', ("line 2", "column 16", "JSON lines")),
        ("b.jsonl", b"[" * 100_000, ("line 1", "RecursionError")),
        ("b.jsonl", b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", ("line 1", "not JSON")),
        ("b.jsonl", b'{"prompt": "a", "fps": NaN}', ("fps is out of range",)),
        ("b.txt", "ein grüner Kreis".encode("latin-1"), ("not written in UTF-8", "line 1, column 7", "0xfc")),
        ("b.txt", b"", ("no lines",)),
        ("b.txt", b"x" * 16_000_001, ("too long",)),
        (".", b"", ("no file",)),
    ],
)
def test_batch_files_that_cannot_be_used(ea, fake, name, content, words):
    if name != ".":
        Path(name).write_bytes(content)
    result = ea(*RUN, "--batch", name)
    assert result.code == 2
    for word in words:
        assert word in result.err, result.err
    assert len(result.err) < 2000
    assert not fake.loads


@pytest.mark.usefixtures("media")
class TestRerunWithChanges:
    @pytest.fixture(autouse=True)
    def _first(self, ea, media):  # noqa: ARG002 (files to start from)
        assert ea(*RUN, "red", "--image", "image.png", "--seed", 3, "-o", "x.mp4").code == 0

    @pytest.mark.parametrize(
        ("args", "name", "value", "told"),
        [
            (("--seed", 4), "seed", 4, "Changed: seed 3 -> 4."),
            (("--prompt", "blue"), "prompt", "blue", "Changed: prompt red -> blue."),
            (("--size", "16x32"), "height", 16, "size 32x48 -> 16x32"),
            (("--seconds", 1), "num_frames", 8, "seconds -> 1.0"),
            (("--fps", 12), "fps", 12, "fps 8 -> 12"),
        ],
    )
    def test_of_settings(self, ea, fake, args, name, value, told):
        result = ea("rerun", "x.mp4", *args)
        assert (result.code, result.out) == (0, "x-rerun.mp4\n"), result.err
        assert told in result.err
        assert "Identical" not in result.err
        first, second = fake.requests
        assert getattr(second, name) == value
        assert len(second.start_images) == 1
        if name != "seed":
            assert second.seed == first.seed

    def test_that_are_none_are_compared(self, ea):
        assert "Identical" in ea("rerun", "x.mp4", "--seed", 3, "--size", "32x48").err

    def test_of_inputs(self, ea, fake):
        Path("image.png").rename("elsewhere.png")
        result = ea("rerun", "x.mp4")
        assert result.code == 2
        assert "ea rerun FILE --input image=PATH" in result.err
        assert "Identical" in ea("rerun", "x.mp4", "--input", "image=elsewhere.png").err
        result = ea("rerun", "x.mp4", "--input", "image=mask.png")
        assert "Changed: another image." in result.err
        assert ea("rerun", "x.mp4", "--video", "video.mp4").code == 0
        assert fake.requests[-1].video is not None
        assert fake.requests[-1].start_images == ()

    def test_of_weights(self, ea, fake, tmp_path):
        folder = tmp_path / "weights"
        folder.mkdir()
        content = (fake.FOLDER / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(content)
        assert "Identical" in ea("rerun", "x.mp4", "--weights", folder).err
        (folder / "weights.safetensors").write_bytes(content[:-1] + b"!")
        result = ea("rerun", "x.mp4", "--weights", folder)
        assert (result.code, result.out) == (0, "x-rerun-2.mp4\n")
        assert "Changed: weights demo" in result.err

    def test_several(self, ea, fake):
        result = ea("rerun", "x.mp4", "--num-videos", 2, "-o", "y.mp4")
        assert result.out.split() == ["y-1.mp4", "y-2.mp4"]
        assert [request.seed for request in fake.requests[1:]] == [3, 4]

    def test_to_one_frame(self, ea):
        assert ea("rerun", "x.mp4", "--frames", 1).out == "x-rerun.png\n"

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("--input", "image"), ("ROLE=PATH",)),
            (("--input", "imge=image.png"), ("no input imge", "did you mean image")),
            (("--input", "image=a", "--input", "image=b"), ("had 1 input image",)),
            (("--input", "image=gone.png"), ("no such file", "image=gone.png")),
            (("--steps", 10**8), ("out of range",)),
            (("-o", "x.mov"), ("ends in .mp4",)),
        ],
    )
    def test_mistakes(self, ea, fake, args, words):
        result = ea("rerun", "x.mp4", *args)
        assert result.code == 2
        for word in words:
            assert word in result.err, result.err
        assert len(fake.requests) == 1

    def test_inputs_move_with_the_clip(self, ea, tmp_path):
        before = Path.cwd()
        moved = tmp_path / "moved"
        before.rename(moved)
        assert "Identical" in ea("rerun", moved / "x.mp4").err
        np.testing.assert_array_equal([path.name for path in moved.glob("x-*")], ["x-rerun.mp4"])
