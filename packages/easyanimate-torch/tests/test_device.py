"""The device and number format that a run takes."""

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_torch.device import choose_device, choose_dtype, choose_vae_dtype


def test_the_cpu_computes_in_float32():
    assert choose_dtype(None, torch.device("cpu")) == torch.float32


def test_gpus_without_bfloat16_compute_in_float16(monkeypatch):
    for has, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert choose_dtype(None, torch.device("cuda")) == dtype


def test_the_vae_is_never_float16():
    assert choose_vae_dtype(torch.float16) == torch.float32
    assert choose_vae_dtype(torch.bfloat16) == torch.bfloat16


def test_unknown_names_are_refused():
    with pytest.raises(RequestError, match="device"):
        choose_device("cuda:99")
    with pytest.raises(RequestError, match="device"):
        choose_device("tpu")
    with pytest.raises(RequestError, match="bfloat16, float16, float32"):
        choose_dtype("fp16", torch.device("cpu"))
