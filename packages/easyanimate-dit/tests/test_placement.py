"""Device, precision, and what to do where memory is short."""

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_dit.placement import (
    Placement,
    choose_device,
    choose_dtype,
    choose_placement,
    choose_vae_dtype,
    offload_layers,
)

GB = 1_000_000_000
OFFICIAL = [3.9 * GB, 3.3 * GB, 0.7 * GB, 0.6 * GB, 0.5 * GB]


@pytest.mark.parametrize(
    ("free", "placement"), [(24, Placement.WHOLE), (11, Placement.BY_MODEL), (7.5, Placement.BY_LAYER)]
)
def test_the_official_weights_fit_small_gpus(free, placement):
    assert choose_placement(OFFICIAL, free * GB) is placement


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


def test_layers_come_and_go_without_changing_the_result():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    x = torch.ones(1, 4)
    expected = model(x)
    offload_layers([model], torch.device("cpu"))
    assert torch.equal(model(x), expected)
