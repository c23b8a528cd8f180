"""Seconds of a clip on an idle and on a busy machine: OpenMP's threads waiting busily or asleep, and fewer of them.

Every way has a process of its own, because OpenMP reads its environment when it is loaded; they take turns. The busy
machine has endless loops, each bound to a processor. Quote the fastest round, and ratios of one column.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.machine import count_processors

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = """
import sys, time
from easyanimate_core.model import open_model
model = open_model("v4", weights="demo", device="cpu")
model.make("a red circle moves to the right", seed=1, num_inference_steps=1)
for _ in sys.stdin:
    start = time.perf_counter()
    model.make("a red circle moves to the right", seed=1, num_inference_steps=int(sys.argv[1]))
    print(time.perf_counter() - start, flush=True)
"""
LOOP = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


class Way:
    """A process that makes clips when it is asked to.

    Args:
        name: What the table calls it.
        steps: Denoising steps of a clip.
        environment: Variables for OpenMP.
    """

    def __init__(self, name: str, steps: int, **environment: str) -> None:
        self.name = name
        cleared = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
        self._process: Any = subprocess.Popen(  # noqa: S603 (own command)
            [sys.executable, "-c", WORKER, str(steps)],
            env=cleared | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> float:
        """Seconds of one clip."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def loading(num_loops: int) -> Iterator[None]:
    """Keep so many processors busy."""
    loops = [
        subprocess.Popen([sys.executable, "-c", LOOP, str(core)])  # noqa: S603 (own command)
        for core in sorted(os.sched_getaffinity(0))[:num_loops]
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Print a table: way, then the fastest and the middle clip by number of busy processors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    arguments = parser.parse_args()
    processors = count_processors()
    fewer = sorted({1, max(processors - 1, 1), processors})
    ways = [Way("PyTorch's own", arguments.steps)]
    for threads in fewer:
        words = {"OMP_NUM_THREADS": str(threads)}
        ways.append(Way(f"{threads} threads, asleep", arguments.steps, OMP_WAIT_POLICY="passive", **words))
    loads = sorted({0, 1, processors - 1})
    seconds: dict[tuple[str, int], list[float]] = {}
    for load in loads:
        with loading(load):
            for _ in range(arguments.rounds):
                for way in ways:
                    spent = way.measure()
                    seconds.setdefault((way.name, load), []).append(spent)
                    print(f"{load} busy, {way.name}: {spent:.2f} s", file=sys.stderr, flush=True)
    for way in ways:
        way.close()
    print(f"{'seconds: fastest, middle':<26}" + "".join(f"{f'{load} busy':>16}" for load in loads))
    for way in ways:
        cells = (sorted(seconds[way.name, load]) for load in loads)
        print(f"{way.name:<26}" + "".join(f"{cell[0]:>8.2f}{cell[len(cell) // 2]:>8.2f}" for cell in cells))


if __name__ == "__main__":
    main()
