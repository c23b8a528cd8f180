"""Hostile manifests, settings, batch files and media: a mistake on one screen, or a clip; never a bug or a hang."""

import dataclasses
import json
import os
import random
import shutil
import sys
import typing
from fractions import Fraction

import av
import numpy as np
import pytest
from easyanimate_core import Video
from easyanimate_core.animation import write_animation
from easyanimate_core.video import write_image, write_video
from hostile import COMMANDS, HOME, VALUES, Commands, spoil_bytes, spoil_json
from PIL import Image
from PIL.PngImagePlugin import PngInfo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes and limits their memory")
SLOW = pytest.mark.slow  # hundreds of calls take a minute

FEW, MANY = 2, 36
"""Cases of a kind in the quick part, and in all."""

RUN = ["run", "-m", "fake", "--frames", "8"]
PATHS = (
    "",
    "x\0y",
    "x" * 300,
    "/".join("x" * 200 for _ in range(30)),
    "loop",
    "pipe",
    "folder",
    "/dev/zero",
    "/dev/full",
)
"""Names that lead to no file; `fill` makes some of them."""
WORDS = (
    "nan", "inf", "-inf", "-1", "0", "1", "3", "1e9", "1000000000", "1e300", "-1e-300", "9" * 5000, "0x10", "1_000",
    "½",
    "x", "null", "true", "[]", "{}", "[[[", "{a: [", "&a [*a]", "!!python/object/apply:os.system [touch pwned]",
    "*x", "x: y: z", "%", "\t", "\n", "x" * 100_000, "\x1b[31mred", "\udcff", "é" * 300, *PATHS,
)  # fmt: skip
"""What a setting may be given as."""


@pytest.fixture(scope="module")
def commands():
    with Commands(COMMANDS) as started:
        yield started


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Whole files of a dozen formats, by name."""
    folder = tmp_path_factory.mktemp("media")
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    write_video(folder / "a.mp4", Video(frames, 8))
    write_animation(folder / "a.gif", Video(frames, 8))
    write_animation(folder / "a.webp", Video(frames, 8))
    write_image(folder / "a.png", frames[0])
    for ending in ("jpg", "bmp", "tif", "ppm", "tga", "pcx", "jp2", "avif"):
        Image.fromarray(frames[0]).save(folder / f"a.{ending}")
    for ending, codec in (("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("ts", "mpeg2video")):
        encode(folder / f"a.{ending}", codec, frames, range(len(frames)))
    day = 8 * 24 * 60 * 60
    for name, days in (("jump.mp4", 2), ("jump.mkv", 365)):
        encode(folder / name, "libx264", frames, [*range(6), *range(days * day, days * day + 6)])
    encode(folder / "slow.mp4", "libx264", frames, [number * day for number in range(12)])
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def encode(path, codec, frames, times):
    with av.open(str(path), "w") as container:
        rate = 25 if path.suffix == ".ts" else 8
        stream = container.add_stream(codec, rate=rate, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def fill(folder):
    """Make what is no file."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")


def call(commands, folder, words, output=None, case="", accepts=None):
    """Call `ea`, and look at what it left."""
    before = look(folder)
    outcome = commands.run(words, folder)
    if not (accepts and accepts(outcome)):
        outcome.check(case)
    made = [path for path in look(folder) if path not in before]
    assert set(before) <= set(look(folder)), (words, case)
    if words[0] == "rerun":  # it compares hashes of weights, which are kept, before it knows
        made = [path for path in made if folder / HOME not in (path, *path.parents)]
    if outcome.code == 2:
        assert not made, (words, made, outcome.output[-2000:], case)
    elif output is not None:  # beside it, hashes of files are kept
        files = [path for path in made if HOME not in path.relative_to(folder).parts]
        assert [path.stem for path in files] == [output], (words, made, outcome.output[-2000:], case)
        files[0].unlink()
        shutil.rmtree(folder / HOME, ignore_errors=True)
    return outcome


def look(folder):
    return sorted(path for path in folder.rglob("*") if path.name != ".said")


def cases(kind, many=MANY):
    """Generators of a kind, the first of them in the quick part."""
    return [
        pytest.param(random.Random(f"{kind} {seed}"), id=f"{seed}", marks=() if seed < FEW else SLOW)  # noqa: S311
        for seed in range(many)
    ]


def embed(folder, media, text, ending):
    """A clip that carries a text where manifests stand."""
    path = folder / f"clip{ending}"
    path.write_bytes(media[f"a{ending}"])
    if ending == ".png":
        info = PngInfo()
        info.add_text("easyanimate", text)
        with Image.open(path) as image:
            image.save(path, pnginfo=info)
    elif ending == ".gif":
        with Image.open(path) as image:
            image.save(path, save_all=True, comment=text.encode("utf-8", "replace"))
    else:
        part = folder / "part.mp4"
        with av.open(str(path)) as given, av.open(str(part), "w", format="mp4") as container:
            container.metadata["comment"] = text.replace("\0", "").encode("utf-8", "replace").decode()
            stream = container.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
        part.replace(path)
    return path.name


@pytest.fixture(scope="module")
def manifest(commands, tmp_path_factory):
    """What a clip says of itself that started from an image and a LoRA."""
    from easyanimate_core.video import read_embedded

    folder = tmp_path_factory.mktemp("made")
    write_image(folder / "start.png", np.zeros((32, 48, 3), np.uint8))
    assert commands.run([*RUN, "a circle", "--image", "start.png", "-o", "a.mp4"], folder).code == 0
    found = read_embedded(folder / "a.mp4")
    found["inputs"][0]["path"] = str(folder / "start.png")
    return found


@pytest.mark.parametrize("rng", cases("manifest"))
def test_manifests(commands, media, manifest, tmp_path, rng):
    text = spoil_json(rng, manifest)
    name = embed(tmp_path, media, text, rng.choice([".mp4", ".mp4", ".png", ".gif"]))
    call(commands, tmp_path, ["info", name, *rng.choice([[], ["--json"]])], case=text[:3000])
    changed = rng.random() < 0.5
    words = ["rerun", name, *(["--seed", "5"] if changed else [])]

    def differs(outcome):
        return outcome.code == 1 and not changed and "The frames differ from those of" in outcome.output

    call(commands, tmp_path, words, "clip-rerun", text[:3000], differs)


SETTINGS = (
    "prompt", "negative-prompt", "frames", "seconds", "size", "fps", "steps", "guidance", "guidance-rescale", "sampler",
    "seed", "image", "end-image", "video", "video-start", "video-fps", "mask", "fit", "strength", "segment", "overlap",
    "num-videos", "output", "model", "weights", "lora", "dtype", "device", "batch",
)  # fmt: skip


@pytest.mark.parametrize("rng", cases("setting"))
def test_settings_of_a_clip(commands, media, tmp_path, rng):
    fill(tmp_path)
    (tmp_path / "a.mp4").write_bytes(media["a.mp4"])
    words = ["run", "-m", "fake", *rng.choice([["x"], ["x", "--video", "a.mp4", "--frames", "8"]])]
    for name in rng.sample(SETTINGS, rng.choice([1, 1, 2])):
        words += [f"--{name}", rng.choice(WORDS).replace("\0", "")]
    outcome = commands.run(words, tmp_path)
    outcome.check()
    if outcome.code == 2:
        assert {path.name for path in look(tmp_path)} == {"folder", "pipe", "loop", "a.mp4"}


def list_fields(kind, prefix=""):
    """Names of settings, those of sections with a dot."""
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        inner = hints[item.name]
        if dataclasses.is_dataclass(inner):
            yield from list_fields(inner, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}"


@pytest.mark.parametrize("rng", cases("training", 40))
def test_settings_of_training(commands, tmp_path, rng):
    from easyanimate_dit.training.config import LoraTrainingConfig
    from easyanimate_vae.training.config import VaeTrainingConfig

    fill(tmp_path)
    trainer, kind = rng.choice([("lora", LoraTrainingConfig), ("vae", VaeTrainingConfig)])
    words = rng.choice([["train", trainer, "--out", "out"], ["train", "plan", trainer]])
    words = [*words, "--data", "none.json"]
    for name in rng.sample(sorted(list_fields(kind)), 1):
        words += [f"--{name}={rng.choice(WORDS)}".replace("\0", "")]
    assert call(commands, tmp_path, words).code == 2


@pytest.mark.parametrize("rng", cases("preparation", 40))
def test_settings_of_preparation(commands, tmp_path, rng):
    from easyanimate_data.preparation.settings import read_settings

    fill(tmp_path)
    (tmp_path / "raw").mkdir()
    word = rng.choice(WORDS).replace("\0", "")
    name = rng.choice(sorted(list_fields(type(read_settings()))))
    given = rng.choice(
        [
            ["--set", f"{name}={word}"], ["--set", f"{name}={word}"], ["--set", word], ["--min", f"motion={word}"],
            ["--max", word], ["--workers", word], ["--engine", word], ["--stages", word], ["--config", word],
        ]
    )  # fmt: skip
    words = ["data", "prepare", "raw", "--out", rng.choice(["out", "out", word]), *given]
    assert call(commands, tmp_path, words).code == 2


@pytest.mark.parametrize("rng", cases("settings file", 40))
def test_files_of_settings(commands, tmp_path, rng):
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*{'a' if i == 0 else f'b{i - 1}'}, *a]\n" for i in range(60))
    text = "max_steps: 5\noptimizer:\n  learning_rate: 0.1\n  betas: [0.9, 0.99]\ndata: {kind: shapes, batch_size: 2}\n"
    whole = text.encode()
    content = rng.choice(
        [
            spoil_bytes(rng, whole), spoil_bytes(rng, whole), bomb.encode(), b"[" * 100_000, b"a: " * 50_000, b"- x\n",
            b"!!python/object/apply:os.system [touch pwned]\n", b"\xff\xfe" + text.encode("utf-16-le"), b"\0" * 1000,
            text.replace("5", rng.choice(WORDS)).encode("utf-8", "surrogateescape"), b"data: &x {options: *x}\n",
            b"1: 2\n", b"? [a]\n: b\n", b"<<: [1]\n", b"max_steps: 2001-01-01\n", b"data: {options: {x: 2001-01-01}}\n",
        ]
    )  # fmt: skip
    (tmp_path / "c.yaml").write_bytes(content)
    (tmp_path / "raw").mkdir()
    given = ["--config", "c.yaml"]
    words = rng.choice(
        [["train", "lora", "--out", "out", "--data.kind", "json"], ["data", "prepare", "raw", "--out", "out"]]
    )
    assert call(commands, tmp_path, [*words, *given], case=repr(content[:500])).code == 2


@pytest.mark.parametrize("rng", cases("batch", 40))
def test_batch_files(commands, tmp_path, rng):
    fill(tmp_path)
    line = {"prompt": "x", "seed": 7, "steps": 3, "size": "32x48", "frames": 8, "image": [], "output": "a.mp4"}
    table = "prompt,seed,steps,output\nx,7,3,a.mp4\n"
    word = rng.choice(WORDS)
    text = rng.choice(
        [
            *[spoil_json(rng, line) for _ in range(4)], table.replace("7", word), table.replace("seed", word),
            table.replace("x", f'"{word}'), word, f"{word}\n" * 20, json.dumps({**line, "output": word}),
            json.dumps({**line, "image": [word]}), json.dumps({word: word}), json.dumps(rng.choice(VALUES)),
        ]
    )  # fmt: skip
    content = text.encode(rng.choice(["utf-8", "utf-8", "utf-16"]), "replace")
    name = f"batch{rng.choice(['.jsonl', '.csv', '.txt', ''])}"
    (tmp_path / name).write_bytes(spoil_bytes(rng, content) if rng.random() < 0.3 else content)
    outcome = commands.run(["run", "-m", "fake", "--batch", name], tmp_path)
    outcome.check(text[:500])
    if outcome.code == 2:
        assert {path.name for path in look(tmp_path)} == {"folder", "pipe", "loop", name}


def claim(rng, content):
    """A file that claims to be larger, longer or more than it is."""
    spoilt = bytearray(content)
    for _ in range(rng.choice([1, 4])):
        start, size = rng.randrange(max(len(spoilt) // 2, 9)), rng.choice([2, 4, 8])
        spoilt[start : start + size] = rng.choice([b"\xff", b"\x7f", b"\x00", b"\x01"]) * size
    return bytes(spoilt)


@pytest.mark.parametrize("rng", cases("media", 100))
def test_media(commands, media, tmp_path, rng):
    fill(tmp_path)
    name = rng.choice(sorted(media))
    spoil = rng.choice([spoil_bytes, claim, claim, lambda _, content: content])
    content = spoil(rng, media[name])
    if rng.random() < 0.2:
        name = f"b.{rng.choice(['png', 'mp4', 'gif', 'webp', 'avi', 'svg', 'txt', 'm3u8', 'heic', 'ts', 'mkv', 'yuv'])}"
    (tmp_path / name).write_bytes(content)
    (tmp_path / "source.mp4").write_bytes(media["a.mp4"])
    given = rng.choice([name, name, name, name, name, name, *PATHS]).replace("\0", "")
    words = rng.choice(
        [
            ["--image", given], ["--image", given, "--end-image", given], ["--video", given], ["--video", given],
            ["--video", given, "--video-fps", "30", "--video-start", "0.1"], ["--video", "source.mp4", "--mask", given],
            ["--video", given, "--mask", given], ["--video", given, "--seconds", "1"],
        ]
    )  # fmt: skip
    call(commands, tmp_path, [*RUN, "x", *words, "-o", "out.mp4"], "out", f"{name}: {len(content)} bytes")
    if rng.random() < 0.2:
        call(commands, tmp_path, ["info", given], case=name)
        call(commands, tmp_path, ["rerun", given], case=name)
