"""Preparing data: clips per second on one core, on two and on Ray; memory and open files over a thousand clips.

Usage: python benchmarks/data.py [--rounds 3] [--memory]. Videos are made in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from easyanimate_core import Video
from easyanimate_core.video import write_video

COMMAND = "from easyanimate_cli.app import main; main()"
ONE_CORE = f"import os; os.sched_setaffinity(0, {{sorted(os.sched_getaffinity(0))[0]}}); {COMMAND}"
WAYS = {
    "one core, in this process": (ONE_CORE, ["--engine", "local"]),
    "two cores, processes": (COMMAND, ["--engine", "processes", "--workers", "2"]),
    "two cores, Ray": (COMMAND, ["--engine", "ray", "--workers", "2"]),
}


def make_video(path: Path, *, seed: int, seconds: float, height: int, width: int) -> None:
    """A video of one scene: coarse noise that slides."""
    rng = np.random.default_rng(seed)
    fps, count = 24, round(seconds * 24)
    picture = rng.integers(0, 256, (height // 8, (width + 4 * count) // 8 + 1, 3), dtype=np.uint8)
    picture = picture.repeat(8, 0).repeat(8, 1)
    write_video(path, Video(np.stack([picture[:, 4 * t : 4 * t + width] for t in range(count)]), fps))


def prepare(raw: Path, out: Path, code: str, words: list[str]) -> subprocess.Popen[bytes]:
    """`ea data prepare` with split and motion, in a process of its own."""
    command = [sys.executable, "-c", code, "data", "prepare", str(raw), "--out", str(out), "--stages", "split,motion"]
    command += ["--set", "split.min_pixels=0", "--min", "motion=0", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603 (own code)


def count_noted(out: Path, stage: str) -> int:
    """Items that a stage has finished."""
    journal = out / "journal" / f"{stage}.jsonl"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def measure_throughput(folder: Path, rounds: int) -> None:
    """Print clips per second of each way, in turn, and the ratios to the first, round by round."""
    raw, num = folder / "raw", 24
    for k in range(num):
        make_video(raw / f"{k}.mp4", seed=k, seconds=6, height=480, width=640)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for k in range(rounds):
        for way, (code, words) in WAYS.items():
            out = folder / f"{k} {way}"
            process = prepare(raw, out, code, words)
            begin = None
            while process.poll() is None:  # from the first clip on: starting a cluster is not the work
                if begin is None and count_noted(out, "split"):
                    begin = time.perf_counter(), count_noted(out, "split")
                time.sleep(0.01)
            if process.returncode or begin is None:
                raise SystemExit(f"{way} failed: {(process.stderr.read() if process.stderr else b'').decode()}")
            seconds[way].append((time.perf_counter() - begin[0]) / (num - begin[1]))
    first = seconds[next(iter(WAYS))]
    print(f"{'split and motion, 6 s of 640x480':<34} {'clips/s':>8} {'times the first':>16}")
    for way, times in seconds.items():
        ratios = sorted(one / other for one, other in zip(first, times, strict=True))
        print(f"{way:<34} {1 / min(times):>8.2f} {ratios[len(ratios) // 2]:>16.2f}   (rounds: {ratios})")


def measure_memory(folder: Path, num: int) -> None:
    """Print memory and open files of the process after 100 clips and after all."""
    raw, out = folder / "raw", folder / "out"
    for k in range(10):
        make_video(raw / f"{k}.mp4", seed=k, seconds=3.2, height=64, width=96)
    for k in range(10, num):
        os.link(raw / f"{k % 10}.mp4", raw / f"{k}.mp4")
    process = prepare(raw, out, COMMAND, ["--engine", "local"])
    reader = threading.Thread(target=process.stderr.read if process.stderr else lambda: None)
    reader.start()
    watched = psutil.Process(process.pid)
    print(f"{'stage':<8} {'clips':>6} {'resident MB':>12} {'open files':>11}")
    for stage in ("split", "motion"):
        for wanted in (100, num // 2, num - 5):
            while process.poll() is None and count_noted(out, stage) < wanted:
                time.sleep(0.005)
            if process.poll() is None:
                resident = watched.memory_info().rss / 1e6
                print(f"{stage:<8} {count_noted(out, stage):>6} {resident:>12.1f} {watched.num_fds():>11}")
    reader.join()
    if process.wait():
        raise SystemExit("the run failed")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="memory over 1,000 clips instead of clips per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            measure_memory(Path(folder), 1000)
        else:
            measure_throughput(Path(folder), options.rounds)


if __name__ == "__main__":
    main()
