from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

from easyanimate_cli.session import Place
from easyanimate_core import LoadOptions
from easyanimate_core.machine import Device


def test_the_pipeline_knows_best_where_it_runs():
    pipeline = SimpleNamespace(device="cuda:1", dtype="torch.bfloat16")
    assert Place.of(pipeline, LoadOptions(device="cpu", dtype="float32")) == Place("cuda:1", "bfloat16")


def test_without_torch_it_is_the_processor(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert Place.of(print, LoadOptions()) == Place("cpu", "float32")
    assert Place.of(print, LoadOptions(device="mps", dtype="float16")) == Place("mps", "float16")


def test_with_torch_it_is_the_best_device_that_fits(monkeypatch):
    names = {"cuda:0": ("bfloat16", "float32"), "cpu": ("float32",)}
    devices = [Device(name=n, model="", memory_bytes=1, free_bytes=1, dtypes=kinds) for n, kinds in names.items()]
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setattr("easyanimate_cli.session.read_machine", lambda: SimpleNamespace(devices=devices))
    assert Place.of(print, LoadOptions()) == Place("cuda:0", "bfloat16")
    assert Place.of(print, LoadOptions(device="cuda")) == Place("cuda", "bfloat16")
    assert Place.of(print, LoadOptions(device="cpu")) == Place("cpu", "float32")
