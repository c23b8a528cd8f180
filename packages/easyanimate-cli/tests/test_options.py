"""Every setting of a clip is an option of `ea run`; the command lines of the first version keep working."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from easyanimate_cli.app import build
from easyanimate_core import VideoRequest
from easyanimate_core.manifest import describe_request

WITHOUT_OPTION = {"on_progress"}
IN_ANOTHER_OPTION = {"height": "size", "width": "size"}
OTHER_WORDS = {
    "num_frames": "frames",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "start_images": "image",
    "segment_frames": "segment",
    "overlap_frames": "overlap",
    **IN_ANOTHER_OPTION,
}

FIRST_VERSION = {
    *("--model", "-m", "--weights", "--prompt", "-p", "--negative-prompt", "--size", "--frames", "--fps", "--steps"),
    *("--guidance", "--sampler", "--seed", "--num-videos", "--image", "--end-image", "--video", "--mask", "--strength"),
    *("--segment", "--overlap", "--lora", "--transformer", "--motion-module", "--dtype", "--device", "--output", "-o"),
    "--batch",
}
"""Names and short names of the options of `ea run` in version 0.1.0; those of part files come from installed models."""

REPEATED = {"--image", "--lora"}


@pytest.fixture
def options():
    """The options of `ea run` by the name of the parameter."""
    context = build().commands["run"].make_context("run", [], resilient_parsing=True)
    return {option.name: option for option in context.command.params if option.param_type_name == "option"}


def test_every_setting_of_a_clip_is_an_option(options):
    settings = {field.name for field in dataclasses.fields(VideoRequest)} - WITHOUT_OPTION
    assert {OTHER_WORDS.get(name, name) for name in settings} <= set(options)


def test_every_help_text_is_a_sentence(options):
    for option in options.values():
        text = option.help.partition(" [default:")[0]
        assert text[0].isupper(), option.name
        assert text.endswith("."), option.name
        assert len(text.split()) >= 4, option.name


def test_the_options_of_the_first_version_are_there(options):
    names = {name: option for option in options.values() for name in option.opts}
    assert not FIRST_VERSION - set(names)
    assert {option.opts[0] for option in options.values() if option.multiple} == REPEATED
    assert [option.name for option in options.values() if option.required] == []


@pytest.mark.usefixtures("media")
def test_a_line_of_a_batch_says_what_the_command_line_says(ea, fake):
    line = {
        "prompt": "a circle",
        "negative-prompt": "blur",
        "size": "32x48",
        "frames": 8,
        "fps": 12,
        "steps": 2,
        "guidance": 3,
        "guidance_rescale": 0.7,
        "sampler": "ddim",
        "seed": 10,
        "num_videos": 1,
        "image": ["image.png", "image.png"],
        "end_image": "image.png",
        "segment": None,
    }
    given = []
    for name, value in line.items():
        for one in value if isinstance(value, list) else [value]:
            given += [] if one is None else ["--" + name.replace("_", "-"), one]
    Path("line.jsonl").write_text(json.dumps({**line, "output": "b.mp4"}), encoding="utf-8")
    assert ea("run", "-m", "fake", *given, "-o", "a.mp4").code == 0
    assert ea("run", "-m", "fake", "--batch", "line.jsonl").out == "b.mp4\n"
    [asked, of_line] = fake.requests
    assert describe_request(asked) == describe_request(of_line)
    assert (asked.seed, asked.guidance_scale, asked.guidance_rescale, asked.negative_prompt) == (10, 3, 0.7, "blur")
    for request in fake.requests:
        assert [image.shape for image in (*request.start_images, request.end_image)] == [(32, 48, 3)] * 3


@pytest.mark.parametrize(("text", "seed"), [("010", 10), ("1_000", 1000), ("0", 0)])
def test_numbers_are_decimal(ea, fake, text, seed):
    assert ea("run", "-m", "fake", "-p", "x", "--seed", text, "--guidance", "1e1").code == 0
    assert (fake.requests[0].seed, fake.requests[0].guidance_scale) == (seed, 10.0)


@pytest.mark.parametrize("prompt", ["true", "7", "null", "a: b", "[x", "~", "- a"])
def test_a_prompt_is_taken_as_it_is(ea, fake, prompt):
    assert ea("run", "-m", "fake", "--prompt", prompt, "--negative-prompt", prompt).code == 0
    assert (fake.requests[0].prompt, fake.requests[0].negative_prompt) == (prompt, prompt)


def test_a_model_that_its_weights_complete(ea, fake):
    assert ea("run", "-m", "fake-open", "-p", "x").code == 0
    [request] = fake.requests
    assert (request.height, request.width, request.num_frames, request.fps) == (32, 32, 9, 12)
    assert (request.num_inference_steps, request.sampler) == (3, "heun")
    assert ea("run", "-m", "fake-open", "-p", "x", "--frames", 13, "--sampler", "dpm").code == 0
