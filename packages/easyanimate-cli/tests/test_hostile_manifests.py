"""Manifests that others wrote, changed at random: exit code 0 or 2 in little time, nothing steers a terminal."""

from __future__ import annotations

import copy
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.video import write_image

VALUES = (
    *(None, True, -1, 0, 1.5, 1e300, 10**8, 10**300, float("nan"), float("inf"), "", "x" * 5000),
    *([], {}, [[]], {"a": {}}, "\x1b[31mred", "\u202eabc", "\x9b2J", "a\0b", "\ud800"),
    *("../../etc/passwd", "/dev/zero", "v4", "cuda:99", "float8", "C:\\x", "//server/share"),
)
CASES = 150


def list_places(value, place=()):
    """Paths of keys and indices to everything in a manifest."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from list_places(inner, (*place, key))


def change(content, chance):
    """A copy with one to three values replaced, removed or added."""
    content = copy.deepcopy(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        *outer, last = chance.choice(list(list_places(content)) or [("model",)])
        holder = content
        for key in outer:
            holder = holder[key]
        if chance.random() < 0.1:
            del holder[last]
        else:
            holder[last] = chance.choice(VALUES)
        if isinstance(holder, dict) and chance.random() < 0.1:
            holder[chance.choice(("extra", "\x1b]0;title\x07", "__class__"))] = chance.choice(VALUES)
    return content


@pytest.mark.slow  # hundreds of commands
def test_whatever_a_manifest_says(ea, fake):
    assert ea("run", "-m", "fake", "red", "--frames", 1, "-o", "base.png").code == 0
    base = read_manifest(Path("base.png")).to_json()
    base["packages"] = {"numpy": "2"}
    base["inputs"] = [
        {"role": role, "path": "base.png", "sha256": "0" * 64, "weight": None} for role in ("lora", "image")
    ]
    chance = random.Random(11)  # noqa: S311 (no secret)
    for number in range(CASES):
        content = change(base if number % 3 == 0 else base | {"inputs": []}, chance)
        write_image(Path("hostile.png"), np.zeros((32, 48, 3), np.uint8), manifest=content)
        for args in (
            ("info", "hostile.png"),
            ("info", "hostile.png", "--json"),
            ("rerun", "hostile.png", "-o", "made.png"),
        ):
            begin = time.monotonic()
            result = ea(*args, "hostile.png")
            told = (number, args, result)
            differs = result.code == 1 and "The frames differ" in result.err
            assert result.code in (0, 2) or differs, told
            assert "Bug" not in result.err, told
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.out + result.err), told
            assert time.monotonic() - begin < 60, told
        Path("made.png").unlink(missing_ok=True)
        assert {path.name for path in Path().iterdir()} == {"base.png", "hostile.png"}
    assert {request.prompt for request in fake.requests} <= {"red", *map(str, VALUES)}
