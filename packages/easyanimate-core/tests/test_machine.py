import subprocess
import sys

import numpy as np
import psutil
import pytest
from easyanimate_core import EasyAnimateError, machine
from easyanimate_core.machine import (
    check_disk_space,
    check_writable,
    format_bytes,
    free_disk_space,
    peak_memory,
    read_machine,
    user_cache_folder,
)


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory()
    held = psutil.Process().memory_info().rss
    assert before >= held * 0.9
    block = np.ones((before - held) // 8 + 8_000_000)  # more than ever before by 64 MB
    assert peak_memory() >= before + 50_000_000
    assert block[-1] == 1


def test_peak_memory_does_not_count_the_parent():
    block = np.ones(30_000_000)  # 240 MB
    code = "from easyanimate_core.machine import peak_memory; print(peak_memory())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert 1_000_000 < int(result.stdout) < block.nbytes / 2


def test_disk_space(tmp_path):
    assert free_disk_space(tmp_path / "not" / "yet") > 0
    check_disk_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(EasyAnimateError, match="not enough space"):
        check_disk_space(tmp_path, 10**18)
    assert list(tmp_path.iterdir()) == []


def test_writable(tmp_path):
    check_writable(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files from anybody")
def test_not_writable():
    with pytest.raises(EasyAnimateError, match="Nothing can be written to /proc"):
        check_writable(machine.Path("/proc/outputs"))


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    monkeypatch.setenv(name, str(tmp_path))
    if sys.platform != "darwin":
        assert user_cache_folder() == tmp_path / "easyanimate"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (14e9, "14.0 GB"), (2.5e12, "2.5 TB"), (5e15, "5000.0 TB")],
)
def test_sizes_for_people(count, text):
    assert format_bytes(count) == text


def test_facts_without_pytorch(monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda _: None)
    facts = read_machine()
    assert facts.torch is None
    assert facts.devices == ()
    assert facts.num_cpus >= 1
    assert 0 < facts.free_memory_bytes <= facts.memory_bytes


class FakeTorch:
    """One card of 2016 and one of 2020, as PyTorch describes them."""

    __version__ = "2.9"

    class cuda:  # noqa: N801
        is_available = staticmethod(lambda: True)
        device_count = staticmethod(lambda: 2)
        mem_get_info = staticmethod(lambda _: (5, 9))

        @staticmethod
        def get_device_properties(index):
            return type("Card", (), {"name": f"card {index}", "major": (6, 8)[index], "total_memory": 9})

    class backends:  # noqa: N801
        class mps:  # noqa: N801
            is_available = staticmethod(lambda: False)


def test_facts_of_graphics_cards(monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(machine.importlib, "import_module", lambda _: FakeTorch)
    old, new, cpu = read_machine().devices
    assert (old.name, old.memory_bytes, old.free_bytes, old.dtypes[0]) == ("cuda:0", 9, 5, "float16")
    assert (new.name, new.dtypes[0]) == ("cuda:1", "bfloat16")
    assert (cpu.name, cpu.dtypes[0]) == ("cpu", "float32")
