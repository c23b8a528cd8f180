"""What Linux grants this process: limits of memory and processors, by its control groups and all groups around them.

Containers, systemd's scopes and batch systems limit programs so; what the whole machine has says nothing then.
The files are those of the kernel's documents: `admin-guide/cgroup-v2`, `admin-guide/cgroup-v1/memory`,
`scheduler/sched-bwc`. Both versions can be in use at once, each for other resources.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryLimit(NamedTuple):
    """The limit of one group in bytes, and what its processes hold of it.

    Args:
        limit: Beyond it the kernel ends a process, or slows all of them down.
        used: Held now, without copies of files, which the kernel gives up when memory is short.
    """

    limit: int
    used: int


def read_memory_limits(root: Path = Path("/")) -> list[MemoryLimit]:
    """Memory limits of the groups of this process, the innermost first; empty without any, and off Linux.

    Args:
        root: Where `proc` and `sys` are.
    """
    limits: list[MemoryLimit] = []
    for folder in _find_groups("memory", root):
        facts = _read_facts(folder / "memory.stat")
        # Version 2; then version 1, which also tells the least limit of groups around this one that are out of sight.
        names = ("memory.max", "memory.high", "memory.limit_in_bytes")
        known = [_read_number(folder / name) for name in names] + [facts.get("hierarchical_memory_limit")]
        bounds = [bound for bound in known if bound is not None]
        if not bounds:
            continue
        used = _read_number(folder / "memory.current") or _read_number(folder / "memory.usage_in_bytes") or 0
        # Version 1 counts the groups inside this one under the names with "total_".
        files = sum(facts.get(f"total_{name}", facts.get(name, 0)) for name in ("active_file", "inactive_file"))
        limits.append(MemoryLimit(limit=min(bounds), used=max(used - files, 0)))
    return limits


def read_processor_limit(root: Path = Path("/")) -> float | None:
    """Processors whose time the groups of this process may use, such as 1.5; None without a limit, and off Linux.

    Args:
        root: Where `proc` and `sys` are.
    """
    limits: list[float] = []
    for folder in _find_groups("cpu", root):
        quota, period = _read_number(folder / "cpu.cfs_quota_us"), _read_number(folder / "cpu.cfs_period_us")
        words = (_read_text(folder / "cpu.max") or "").split()
        if [word.isdigit() for word in words] == [True, True]:
            quota, period = int(words[0]), int(words[1])
        if quota and period:
            limits.append(quota / period)
    return min(limits, default=None)


def _find_groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, those inside before those around them, of both versions."""
    groups: dict[str, str] = {}
    for line in (_read_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            groups["cgroup"] = path
        elif number == "0" and not controllers:
            groups["cgroup2"] = path
    # The fields: id, parent, device, top, mount point, options, optional ones, "-", type, source, options.
    for line in (_read_text(root / "proc/self/mountinfo") or "").splitlines():
        mount, _, source = line.partition(" - ")
        fields, (kind, *_, options) = mount.split(), source.split() or ("", "")
        if kind not in groups or (kind == "cgroup" and controller not in options.split(",")):
            continue
        top, point = (PurePosixPath(_decode(field)) for field in fields[3:5])
        path = PurePosixPath(groups[kind])
        # A group that lies outside what is mounted here is seen by none of its folders but the mounted one.
        inside = path.relative_to(top) if path.is_relative_to(top) and ".." not in path.parts else PurePosixPath()
        folder = root / point.relative_to("/")
        yield from (folder / inner for inner in (inside, *inside.parents))


def _decode(field: str) -> str:
    """A path of `mountinfo`, where blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _read_number(path: Path) -> int | None:
    """The number in a file; None without the file, for "max" and for "-1", which both mean no limit."""
    text = (_read_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _read_facts(path: Path) -> dict[str, int]:
    """The lines of a file such as "inactive_file 4096"."""
    words = [line.split() for line in (_read_text(path) or "").splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}  # noqa: PLR2004 (a word and its number)
