"""Wall time of the commands that must be quick: the fastest of several starts, interleaved."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time

LIMITS = {"--help": 0.3, "models": 0.4}
"""Seconds that each command may take."""


def measure(command: str) -> float:
    """Seconds of one start of `ea COMMAND`."""
    executable = shutil.which("ea") or "ea"
    start = time.perf_counter()
    subprocess.run([executable, command], check=True, capture_output=True)  # noqa: S603 (a fixed command)
    return time.perf_counter() - start


def main() -> None:
    """Print a table: command, fastest and middle time, limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {command: [] for command in LIMITS}
    for _ in range(rounds):
        for command, seconds in times.items():
            seconds.append(measure(command))
    print(f"{'command':<12} {'fastest':>8} {'middle':>8} {'limit':>8}")
    for command, seconds in times.items():
        middle = sorted(seconds)[rounds // 2]
        print(f"ea {command:<9} {min(seconds):>8.3f} {middle:>8.3f} {LIMITS[command]:>8.3f}")


if __name__ == "__main__":
    main()
