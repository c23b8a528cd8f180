from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core.manifest import read_manifest
from easyanimate_core.video import read_image, read_video
from safetensors.numpy import save_file

RUN = ("run", "--model", "fake", "--prompt", "a red circle")


def test_writes_an_mp4_with_the_defaults_and_prints_only_its_path(ea):
    result = ea(*RUN)
    assert result.code == 0
    assert result.out == f"{Path('outputs/fake-a-red-circle-0.mp4')}\n"
    video = read_video(Path("outputs/fake-a-red-circle-0.mp4"))
    assert video.frames.shape == (16, 32, 48, 3)
    assert video.fps == 8


def test_the_closing_table_has_path_phases_and_memory(ea):
    lines = ea(*RUN).err.splitlines()
    assert lines[-2].split() == ["FILE", "SECONDS", "PEAK", "MEMORY"]
    for word in ("fake-a-red-circle-0.mp4", "load ", "denoise ", "write "):
        assert word in lines[-1]
    assert re.search(r"\d [MG]B$", lines[-1])


def test_without_a_terminal_lines_are_plain(ea):
    result = ea(*RUN)
    assert "denoise 4/4" in result.err
    assert "\x1b" not in result.out + result.err
    assert "\r" not in result.err


def test_options_reach_the_pipeline(ea, fake):
    result = ea(
        *(*RUN, "--negative-prompt", "blur", "--size", "48x64", "--frames", 8, "--fps", 12, "--steps", 2),
        *("--guidance", 3.5, "--sampler", "ddim", "--seed", 7, "-o", "x.mp4", "--dtype", "float16", "--device", "cpu"),
    )
    assert result.code == 0, result.err
    [request] = fake.requests
    assert (request.height, request.width, request.num_frames, request.fps) == (48, 64, 8, 12)
    assert (request.num_inference_steps, request.guidance_scale, request.sampler, request.seed) == (2, 3.5, "ddim", 7)
    assert request.negative_prompt == "blur"
    [options] = fake.loads
    assert (options.dtype, options.device, options.weights.path) == ("float16", "cpu", fake.FOLDER)
    assert Path("x.mp4").is_file()


def test_defaults_of_the_weights_win_over_those_of_the_model(ea, fake, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes((fake.FOLDER / "weights.safetensors").read_bytes())
    (folder / "easyanimate.json").write_text('{"defaults": {"num_frames": 24, "fps": 5}}', encoding="utf-8")
    assert ea(*RUN, "--weights", folder).code == 0
    [request] = fake.requests
    assert (request.num_frames, request.fps, request.height) == (24, 5, 32)


def test_auto_weights_say_what_was_taken_and_how_to_get_the_official_ones(ea):
    err = ea(*RUN).err
    assert "demo weights" in err
    assert "ea weights pull fake official" in err


@pytest.mark.parametrize("asked", ["three", "three/", "three/new/"])
def test_several_videos_go_into_a_folder(ea, asked):
    result = ea(*RUN, "--num-videos", 2, "-o", asked)
    assert result.out.split() == [str(Path(asked, f"fake-a-red-circle-{seed}.mp4")) for seed in range(2)]


def test_a_slash_means_a_folder(ea):
    assert ea(*RUN, "-o", "new/deep/").out == f"{Path('new/deep/fake-a-red-circle-0.mp4')}\n"
    assert ea(*RUN, "-o", "./").out == "fake-a-red-circle-0.mp4\n"


def test_lines_with_one_output_go_into_a_folder(ea):
    Path("b.txt").write_text("one\ntwo\n", encoding="utf-8")
    result = ea("run", "--model", "fake", "--batch", "b.txt", "-o", "here")
    assert result.out.split() == [str(Path("here", f"fake-{word}-0.mp4")) for word in ("one", "two")]
    assert ea("run", "--model", "fake", "--batch", "b.txt", "-o", "x.mp4").out.split() == ["x.mp4", "x-2.mp4"]


@pytest.mark.parametrize("kind", ["gif", "webp", "MP4"])
def test_other_endings(ea, kind):
    result = ea(*RUN, "-o", f"x.{kind}")
    assert result.out == f"x.{kind}\n"
    assert read_manifest(Path(f"x.{kind}")).request["prompt"] == "a red circle"
    again = ea("rerun", f"x.{kind}")
    assert again.out == f"x-rerun.{kind}\n"
    assert "Identical" in again.err


def test_several_videos_use_one_pipeline_and_seeds_that_count_up(ea, fake):
    result = ea(*RUN, "--num-videos", 3, "--seed", 5, "-o", "x.mp4")
    assert result.out.split() == ["x-1.mp4", "x-2.mp4", "x-3.mp4"]
    assert [request.seed for request in fake.requests] == [5, 6, 7]
    assert len(fake.loads) == 1
    assert read_manifest(Path("x-2.mp4")).seed == 6


def test_never_overwrites(ea):
    Path("x.mp4").write_text("precious", encoding="utf-8")
    result = ea(*RUN, "-o", "x.mp4")
    assert result.out == "x-2.mp4\n"
    assert "x.mp4 is taken, so x-2.mp4 is written; --overwrite replaces a file." in result.err
    assert Path("x.mp4").read_text(encoding="utf-8") == "precious"
    assert ea(*RUN, "-o", "x.mp4", "--overwrite").out == "x.mp4\n"
    assert read_manifest(Path("x.mp4")).seed == 0
    names = [ea(*RUN).out.strip() for _ in range(2)]
    assert names == [str(Path("outputs", name)) for name in ("fake-a-red-circle-0.mp4", "fake-a-red-circle-0-2.mp4")]


def test_a_file_that_came_in_the_meantime_is_not_replaced(ea, fake, monkeypatch):
    original = fake.make_video
    monkeypatch.setattr(fake, "make_video", lambda request: Path("x.mp4").write_text("new") and original(request))
    result = ea(*RUN, "-o", "x.mp4")
    assert result.out == "x-2.mp4\n"
    assert Path("x.mp4").read_text() == "new"
    assert "in the meantime" in result.err


def test_output_may_be_a_folder_and_lack_an_ending(ea):
    Path("here").mkdir()
    assert ea(*RUN, "-o", "here").out == f"{Path('here/fake-a-red-circle-0.mp4')}\n"
    assert ea(*RUN, "-o", "new/clip").out == f"{Path('new/clip.mp4')}\n"


def test_one_frame_is_a_png(ea):
    result = ea(*RUN, "--frames", 1)
    path = Path(result.out.strip())
    assert path.suffix == ".png"
    assert read_image(path).shape == (32, 48, 3)
    assert read_manifest(path).model == "fake"


def test_names_of_other_scripts_stay_readable(ea):
    result = ea("run", "--model", "fake", "--prompt", "一个红色的圆形 / right")
    assert result.out == f"{Path('outputs/fake-一个红色的圆形-right-0.mp4')}\n"


@pytest.mark.usefixtures("media")
def test_start_and_end_images(ea, fake):
    assert ea(*RUN, "--image", "image.png", "--image", "image.png", "--end-image", "image.png").code == 0
    [request] = fake.requests
    assert [image.shape for image in request.start_images] == [(32, 48, 3)] * 2
    np.testing.assert_array_equal(request.end_image, read_image(Path("image.png")))
    manifest = read_manifest(Path("outputs/fake-a-red-circle-0.mp4"))
    assert [item.role for item in manifest.inputs] == ["image", "image", "end-image"]


@pytest.mark.usefixtures("media")
def test_video_with_mask_takes_its_length_and_rate_from_the_video(ea, fake):
    assert ea(*RUN, "--video", "video.mp4", "--mask", "mask.png", "--strength", 0.5).code == 0
    [request] = fake.requests
    assert request.video.frames.shape[0] == request.num_frames == 16
    assert request.fps == 10
    assert request.mask.shape == (1, 32, 48)
    assert set(np.unique(request.mask)) == {0, 255}
    assert request.strength == 0.5


def test_long_video_may_be_longer_than_the_model(ea, fake):
    assert ea(*RUN, "--frames", 160, "--segment", 16, "--overlap", 4).code == 0
    assert (fake.requests[0].segment_frames, fake.requests[0].overlap_frames) == (16, 4)


def test_lora_files_with_weights(ea, fake):
    for name in "ab":
        save_file({"lora_unet__blocks_0.lora_down.weight": np.zeros(1, np.float32)}, f"{name}.safetensors")
    result = ea(*RUN, "--lora", "a.safetensors:0.6", "--lora", "b.safetensors")
    assert result.code == 0
    assert [(lora.path.name, lora.weight) for lora in fake.loads[0].loras] == [
        ("a.safetensors", 0.6),
        ("b.safetensors", 1.0),
    ]
    # What a model reports while it loads stands among the phases.
    reports = [result.err.index(f"\nLoRA [{name}.safetensors] matched 3 modules\n") for name in "ab"]
    assert reports[0] < reports[1] < result.err.index("\nload 1/1")


@pytest.mark.usefixtures("media")
@pytest.mark.parametrize(("mask", "strength"), [((), 0.7), (("--mask", "mask.png"), 1.0)])
def test_a_source_video_shines_through_unless_a_mask_says_where_to_replace_it(ea, fake, mask, strength):
    assert ea(*RUN, "--video", "video.mp4", *mask).code == 0
    assert fake.requests[0].strength == strength
    assert read_manifest(Path("outputs/fake-a-red-circle-0.mp4")).request["strength"] == strength


def test_guidance_rescale_from_the_command_line_and_from_a_batch(ea, fake):
    Path("prompts.jsonl").write_text('{"prompt": "a", "guidance-rescale": 0.25}\n{"prompt": "b"}', encoding="utf-8")
    result = ea("run", "--model", "fake", "--batch", "prompts.jsonl", "--guidance-rescale", 0.5)
    assert result.code == 0, result.err
    assert [request.guidance_rescale for request in fake.requests] == [0.25, 0.5]
    assert read_manifest(Path("outputs/fake-a-0.mp4")).request["guidance_rescale"] == 0.25
    assert "Identical" in ea("rerun", "outputs/fake-a-0.mp4").err
    assert fake.requests[-1].guidance_rescale == 0.25


@pytest.mark.usefixtures("media")
def test_batch_uses_one_pipeline_and_the_command_line_as_its_base(ea, fake):
    lines = [
        {"prompt": "one", "seed": 3},
        {"prompt": "two", "frames": 1, "image": "image.png"},
        {"negative-prompt": "x"},
    ]
    Path("prompts.jsonl").write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    result = ea("run", "--model", "fake", "--batch", "prompts.jsonl", "--prompt", "base", "--steps", 2)
    assert result.code == 0, result.err
    assert [Path(line).name for line in result.out.split()] == ["fake-one-3.mp4", "fake-two-0.png", "fake-base-0.mp4"]
    assert len(fake.loads) == 1
    assert {request.num_inference_steps for request in fake.requests} == {2}
    assert fake.requests[2].negative_prompt == "x"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken", ["line 2", "JSON"]),
        ('"text"', ["line 2", "object"]),
        ('{"promt": "x"}', ["line 2", "promt", "did you mean prompt"]),
        ('{"prompt": "x", "frames": "many"}', ["line 2", "frames must be a whole number", "'many'"]),
        ('{"prompt": "x", "seed": true}', ["line 2", "seed must be a whole number"]),
        ('{"prompt": "x", "fps": "fast"}', ["line 2", "fps must be a number", "'fast'"]),
        ('{"prompt": "x", "size": 3}', ["line 2", "size must be a text"]),
        ('{"prompt": "x", "size": "3"}', ["line 2", "HEIGHTxWIDTH"]),
        ('{"prompt": "x", "num-videos": 0}', ["line 2", "num_videos is out of range"]),
        ('{"prompt": "x", "image": [1]}', ["line 2", "image[0] must be a path"]),
        ('{"prompt": " "}', ["line 2", "empty"]),
        ('{"prompt": "x", "frames": 17}', ["Line 2", "17", "use 16 or 24"]),
        ('{"prompt": "x", "image": "gone.png"}', ["Line 2", "gone.png"]),
    ],
)
def test_a_bad_line_of_a_batch_is_named_before_anything_is_made(ea, fake, line, words):
    Path("prompts.jsonl").write_text('{"prompt": "good"}\n' + line, encoding="utf-8")
    result = ea("run", "--model", "fake", "--batch", "prompts.jsonl")
    assert result.code == 2
    assert all(word in result.err for word in words), result.err
    assert not fake.loads
    assert not Path("outputs").exists()


def test_the_manifest_tells_everything(ea):
    ea(*RUN, "--seed", 4)
    manifest = read_manifest(Path("outputs/fake-a-red-circle-4.mp4"))
    assert manifest.request["prompt"] == "a red circle"
    assert manifest.request["guidance_scale"] == 5.0
    assert manifest.weights.name == "demo"
    assert set(manifest.weights.hashes) == {"weights.safetensors"}
    assert set(manifest.timings) == {"load", "denoise"}
