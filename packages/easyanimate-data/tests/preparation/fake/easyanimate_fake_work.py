"""Work for tests of the engines: importable in worker processes."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from easyanimate_core import MediaError


@dataclass(frozen=True)
class Square:
    """Squares numbers; misbehaves where a row says so."""

    trace: Path | None = None
    batch_size: int = 2
    num_gpus: float = 0.0
    refuses: bool = False

    def open(self):
        if self.refuses:
            raise MediaError("The model cannot be loaded.", received="a test")
        if self.trace is not None:
            (self.trace / f"opened-{os.getpid()}-{time.monotonic_ns()}").touch()
        return lambda rows: [self.square(row) for row in rows]

    def square(self, row):
        number = row["number"]
        if number == "die":
            os._exit(3)
        if number == "full":
            raise OSError(28, "No space left on device", "clip.mp4")
        if number == "child":
            subprocess.run([sys.executable, "-c", "import time; time.sleep(61)"], check=True)
        if number == "slow":
            time.sleep(60)
        return {"square": number * number}
