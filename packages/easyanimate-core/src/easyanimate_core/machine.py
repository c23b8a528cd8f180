"""What this machine has and can take: processors, memory, disk space, graphics cards, the user's cache folder."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyanimate_core.control_group import read_memory_limits, read_processor_limit
from easyanimate_core.errors import EasyAnimateError


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device that can compute.

    Args:
        name: As `--device` takes it: "cuda:0", "mps", "cpu".
        model: What it is called.
        memory_bytes: All of its memory.
        free_bytes: What is free of it now.
        dtypes: Number formats that it computes in, the best for inference first.
    """

    name: str
    model: str
    memory_bytes: int
    free_bytes: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts of this machine, sizes in bytes.

    Args:
        system: Operating system and architecture.
        python: Version of the running Python.
        num_cpus: Processors that this process may use.
        memory_bytes: Main memory, or the least limit of the control groups (containers, scopes) around this process.
        free_memory_bytes: What is free of it now.
        torch: Version of PyTorch, None when it is not installed.
        devices: Where models can run, the best first; empty without PyTorch.
    """

    system: str
    python: str
    num_cpus: int
    memory_bytes: int
    free_memory_bytes: int
    torch: str | None
    devices: tuple[Device, ...]


def read_machine() -> Machine:
    """Gather the facts; imports PyTorch when it is installed, which takes seconds."""
    total, free = _main_memory()
    torch_version, devices = _torch_facts(total, free)
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        num_cpus=count_processors(),
        memory_bytes=total,
        free_memory_bytes=free,
        torch=torch_version,
        devices=devices,
    )


def count_processors() -> int:
    """Processors that this process may use at a time: of the machine, or by the limits of its affinity or container."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = read_processor_limit()
    return count if limit is None else max(1, min(count, round(limit)))


def peak_memory() -> int:
    """The most main memory that this process has held at a time, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux' getrusage counts what the parent process held before this one began; this line does not.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


def free_memory() -> int:
    """Main memory that this process can still take, in bytes; limits of control groups count (containers, scopes)."""
    return _main_memory()[1]


def free_disk_space(folder: Path) -> int:
    """Bytes free where `folder` is or would be made."""
    return shutil.disk_usage(_existing(folder)).free


def check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Raise `EasyAnimateError` unless `folder`, which need not exist yet, has room for `needed_bytes`."""
    free = free_disk_space(folder)
    if free < needed_bytes:
        raise EasyAnimateError(
            f"The disk of {folder} has not enough space.",
            received=f"{format_bytes(free)} free",
            expected=f"at least {format_bytes(needed_bytes)}",
            fix="make space, or choose another folder",
        )


def check_writable(folder: Path, *, option: str = "--output") -> None:
    """Raise `EasyAnimateError` unless files can be made in `folder`, which need not exist yet; leaves nothing.

    Args:
        folder: A path.
        option: What chooses it, for the error.
    """
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            pass
    except OSError as error:
        raise EasyAnimateError(
            f"Nothing can be written to {folder}: {error.strerror}",
            received=folder,
            expected="a folder that you may write to",
            fix=f"choose another folder: {option}",
        ) from error


def user_cache_folder() -> Path:
    """Folder for what can be made again, by the custom of the operating system; may not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "easyanimate"


def user_data_folder() -> Path:
    """Folder for what is kept, such as weights: `EA_HOME`, else by the custom of the system; may not exist yet."""
    own = os.environ.get("EA_HOME")
    if own:
        return Path(own).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "easyanimate"


def format_bytes(count: float) -> str:
    """A size for people, in powers of 1000: "1.7 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:  # noqa: PLR2004 (the step between units)
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _existing(folder: Path) -> Path:
    """The nearest place above that exists; a file there fails later, as it must."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _main_memory() -> tuple[int, int]:
    """Total and free main memory; the limits of control groups take precedence."""
    import psutil

    memory = psutil.virtual_memory()
    limits = read_memory_limits()
    total = min([int(memory.total), *(limit for limit, _ in limits)])
    free = min([int(memory.available), *(limit - used for limit, used in limits)])
    return total, max(free, 0)


def _torch_facts(total: int, free: int) -> tuple[str | None, tuple[Device, ...]]:
    if importlib.util.find_spec("torch") is None:
        return None, ()
    try:
        torch: Any = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # a broken installation is a fact, too
        return f"broken: {error}", ()
    devices: list[Device] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            # From compute capability 8.0 on bfloat16 is native; before, PyTorch only emulates it.
            native = card.major >= 8  # noqa: PLR2004
            devices.append(
                Device(
                    name=f"cuda:{index}",
                    model=str(card.name),
                    memory_bytes=int(card.total_memory),
                    free_bytes=int(torch.cuda.mem_get_info(index)[0]),
                    dtypes=("bfloat16", "float16", "float32") if native else ("float16", "float32"),
                )
            )
    if torch.backends.mps.is_available():
        dtypes = ("float16", "bfloat16", "float32")
        devices.append(Device(name="mps", model="Apple GPU", memory_bytes=total, free_bytes=free, dtypes=dtypes))
    model = platform.processor() or platform.machine()
    cpu = Device(name="cpu", model=model, memory_bytes=total, free_bytes=free, dtypes=("float32", "bfloat16"))
    return str(torch.__version__), (*devices, cpu)
