"""Kills a training at three random steps, lets it go on, and draws its losses over those of an undisturbed run.

uv run --with matplotlib python benchmarks/kill.py docs/images/training-kill.png
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

STEPS = 60
EVERY = 10
"""Steps between checkpoints."""


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """`ea train lora` on shapes clips and the demo weights of V4."""
    options = {
        "--model": "v4", "--weights": "demo", "--out": str(out), "--data.kind": "shapes",
        "--data.options": "{count: 32, style: outlined}", "--data.batches": "[[4, 16]]", "--max-steps": str(STEPS),
        "--checkpoint-every": str(EVERY), "--log-every": "1", "--tracker": "none",
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    return subprocess.Popen(  # noqa: S603 (own command)
        [sys.executable, "-m", "easyanimate_dit.train", "lora", *words, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def read(out: Path) -> list[tuple[int, float]]:
    """Steps and losses of a log; a line that was cut off is left out."""
    lines = (out / "loss.jsonl").read_text().splitlines() if (out / "loss.jsonl").exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    return [(entry["step"], entry["loss"]) for entry in entries]


def main() -> None:
    """Run, kill, go on, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        if start(whole).wait() != 0:
            sys.exit("the undisturbed run failed")
        parts: list[list[tuple[int, float]]] = []
        for step in sorted(random.sample(range(5, STEPS), 3)):
            process = start(killed, *(["--resume"] if killed.exists() else []))
            while process.poll() is None and (not read(killed) or read(killed)[-1][0] < step):
                time.sleep(0.01)
            process.kill()
            process.wait()
            parts.append(read(killed))
        if start(killed, "--resume").wait() != 0:
            sys.exit("the resumed run failed")
        parts.append(read(killed))
        print("kills after steps", [part[-1][0] for part in parts[:-1]])
        print("equal, bit for bit" if parts[-1] == read(whole) else "DIFFERENT")
        draw(picture, read(whole), parts)


def draw(picture: Path, whole: list[tuple[int, float]], parts: list[list[tuple[int, float]]]) -> None:
    """The undisturbed run as a broad line, and on it what each process did before it was killed."""
    _, axes = plt.subplots(figsize=(8, 3.2), dpi=110)
    axes.plot(*zip(*whole, strict=True), color="#cccccc", linewidth=7, label="undisturbed")
    begin = 0
    for number, part in enumerate(parts):
        seen = [point for point in part if point[0] > begin]
        end = "to the end" if number == len(parts) - 1 else f"killed after step {part[-1][0]}"
        axes.plot(*zip(*seen, strict=True), linewidth=1.5, marker=".", markersize=4, label=end)
        if number < len(parts) - 1:
            axes.axvline(part[-1][0], color="#999999", linewidth=0.8, linestyle=":")
        begin = part[-1][0] // EVERY * EVERY
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8)
    plt.tight_layout()
    plt.savefig(picture)


if __name__ == "__main__":
    main()
