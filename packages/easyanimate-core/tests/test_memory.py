"""Memory that does not suffice is explained, before loading where that can be known."""

from types import SimpleNamespace

import numpy as np
import pytest
from easyanimate_core import EasyAnimateError, LoadOptions, ShapeRule, VideoRequest, WeightsFolder, memory
from easyanimate_core.machine import Device
from easyanimate_core.memory import check_memory, explain_load, explain_run, explaining_memory, is_out_of_memory
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
