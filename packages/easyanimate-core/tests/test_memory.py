"""Memory that does not suffice is explained, before loading where that can be known."""

import gc
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from easyanimate_core import EasyAnimateError, LoadOptions, ShapeRule, VideoRequest, WeightsFolder, memory
from easyanimate_core.machine import Device
from easyanimate_core.memory import (
    check_clip_memory,
    check_memory,
    explain_load,
    explain_run,
    explaining_memory,
    is_out_of_memory,
)
from safetensors.numpy import save_file


class OutOfMemoryError(RuntimeError):
    """Looks like torch's."""


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("sizes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, full):
    assert is_out_of_memory(error) is full
    explanation = EasyAnimateError("too little")
    with pytest.raises(EasyAnimateError if full else type(error)) as caught, explaining_memory(explanation):
        raise error
    assert caught.value is (explanation if full else error)


@pytest.fixture
def options(tmp_path, monkeypatch):
    """A function from free bytes and further options to `LoadOptions`: weights of 100 numbers on this machine."""
    save_file({"weight": np.zeros(100, np.float16)}, tmp_path / "weights.safetensors")

    def make(free, device="cpu", **values):
        cpu = Device(name=device, model="", memory_bytes=800, free_bytes=free, dtypes=("float32", "bfloat16"))
        monkeypatch.setattr(memory, "free_memory", lambda: free)
        monkeypatch.setattr(memory, "read_machine", lambda: SimpleNamespace(devices=(cpu,)))
        return LoadOptions(weights=WeightsFolder(tmp_path), **values)

    return make


def test_weights_that_are_too_large_for_the_processor_are_refused(options):
    with pytest.raises(EasyAnimateError, match=r"400 bytes of weights as float32(?s:.*)250 bytes(?s:.*)bfloat16"):
        check_memory(options(250))
    with pytest.raises(EasyAnimateError, match="200 bytes of weights as bfloat16") as caught:
        check_memory(options(150, dtype="bfloat16"))
    assert "--dtype" not in caught.value.fix


def test_what_fits_or_tells_by_itself_passes(options):
    check_memory(options(401))
    check_memory(options(250, dtype="bfloat16"))
    check_memory(options(10, device="cuda:0"))
    check_memory(LoadOptions())


def test_a_graphics_card_that_was_asked_for_is_not_judged(options):
    values = options(10)
    check_memory(LoadOptions(weights=values.weights, device="cuda"))


def make_request(**changes):
    values = {"prompt": "x", "num_frames": 8, "height": 16, "width": 32, "fps": 8, "num_inference_steps": 2}
    return VideoRequest(**(values | {"guidance_scale": 1, "sampler": "euler"} | changes))


IMAGE = np.zeros((16, 32, 3), np.uint8)
CONFIG = '{"num_attention_heads": 3, "attention_head_dim": 5, "patch_size": 2}'
PIXELS = 8 * 16 * 32
STATES = 2 * (16 // 16) * (32 // 16) * 3 * 5 * 5  # two latent frames of tokens of 16 x 16 pixels


@pytest.mark.parametrize(
    ("changes", "values", "needed"),
    [
        ({}, {}, PIXELS * 6 + 400),
        ({"num_frames": 16}, {}, PIXELS * 12 + 400),
        ({"num_frames": 16, "segment_frames": 8, "overlap_frames": 4}, {}, PIXELS * 12 + 400),
        ({"start_images": (IMAGE,)}, {}, PIXELS * 24 + 400),
        ({}, {"dtype": "bfloat16"}, PIXELS * 6 + 200),
        ({}, {"device": "cuda"}, PIXELS * 6),
        ({}, {"is_loaded": True}, PIXELS * 6),
        ({}, {"config": CONFIG}, PIXELS * 6 + 400 + 4 * STATES),
        ({}, {"config": CONFIG, "dtype": "float16"}, PIXELS * 6 + 200 + 2 * STATES),
        ({}, {"config": CONFIG.replace("2", '"2"')}, PIXELS * 6 + 400),
        ({}, {"config": CONFIG.replace("2", "0")}, PIXELS * 6 + 400),
    ],
)
def test_a_clip_that_certainly_does_not_fit_is_refused(options, tmp_path, changes, values, needed):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(values.pop("config", "{}"))
    request, is_loaded = make_request(**changes), values.pop("is_loaded", False)
    check_clip_memory(request, ShapeRule(), options(needed + 1, **values), is_loaded=is_loaded)
    with pytest.raises(EasyAnimateError, match="too little memory for this clip") as caught:
        check_clip_memory(request, ShapeRule(), options(needed, **values), is_loaded=is_loaded)
    assert f"--size 16x32 --frames {request.num_frames}: at least" in caught.value.received
    assert "that are free" in caught.value.expected


def test_a_clip_of_a_graphics_card_is_judged_by_its_pixels(options):
    check_clip_memory(make_request(), None, options(PIXELS * 6 + 1, device="cuda:0"), is_loaded=False)
    with pytest.raises(EasyAnimateError, match="too little memory for this clip"):
        check_clip_memory(make_request(), None, options(PIXELS * 6, device="cuda:0"), is_loaded=False)


def test_a_clip_that_did_not_fit_gets_half_as_large_ones():
    request = VideoRequest(
        prompt="x",
        num_frames=72,
        height=384,
        width=672,
        fps=8,
        num_inference_steps=2,
        guidance_scale=1,
        sampler="euler",
    )
    error = explain_run(request, ShapeRule(), LoadOptions(dtype="float32"))
    assert error.expected == "about half of it: --frames 32 or --size 272x464 or --dtype bfloat16"
    error = explain_run(request, None, LoadOptions())
    assert error.expected == "about half of it: --frames 36 or --size 272x475"


def test_a_model_that_did_not_fit():
    assert "a model without weights as its usual number format" in str(explain_load(LoadOptions()))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collection_rests_and_is_as_before(enabled):
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(ValueError), memory.pausing_collection():
            assert not gc.isenabled()
            raise ValueError
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
