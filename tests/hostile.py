"""Runs `ea` on hostile input: many calls, each in a process of its own with limits of time and memory, started warm.

    with Commands() as commands:
        outcome = commands.run(["info", "clip.mp4"], folder)
        outcome.check()

A child is forked from a process that has imported the heavy libraries, so that hundreds of calls take minutes. Values
and bytes are spoilt by `spoil_json` and `spoil_bytes`, from a seeded generator.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

FAKE = Path(__file__).parents[1] / "packages" / "easyanimate-core" / "tests" / "fake"
"""A plugin whose clips are made at once: the model "fake"."""

MOST_SECONDS = 120
MOST_BYTES = 4_000_000_000
_GUARD_BYTES = 12_000_000_000  # of address space beside what was imported, so that a fault harms no other program
HOME = "home"
"""Folder of weights and caches, within the one that a call runs in."""

COMMANDS = (
    "av",
    "numpy.random",
    "PIL.Image",
    "PIL.ImageSequence",
    "easyanimate_cli.app",
    "easyanimate_cli.info",
    "easyanimate_cli.rerun",
    "easyanimate_core.tone",
    "easyanimate_data.preparation.run",
    "easyanimate_data.preparation.command",
    "easyanimate_train.launch",
    "easyanimate_fake",
    "huggingface_hub.file_download",
    "huggingface_hub.utils._cache_manager",
)
"""What commands import, without PyTorch."""

NETWORKS = (
    "torch",
    "diffusers.schedulers.scheduling_ddim",
    "transformers.models.bert.modeling_bert",
    "transformers.models.clip.modeling_clip",
    "transformers.models.t5.modeling_t5",
    "transformers.models.bert.tokenization_bert",
    "transformers.models.t5.tokenization_t5",
    "easyanimate_dit.hunyuan",
    "easyanimate_dit.loading.encoder",
    "easyanimate_dit.lora.apply",
    "easyanimate_dit.sampling.request_pipeline",
    "easyanimate_vae.autoencoder",
    "easyanimate_v4.version",
)
"""What loading of weights imports."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its exit code (-9: over the limit of time), what it printed, what it took.

    Seconds are of computing, so that they are the same on a busy machine.
    """

    words: list[str]
    code: int
    output: str
    seconds: float
    peak_bytes: int
    outlived: bool

    def check(self, case: str = "") -> None:
        """Raise `AssertionError` unless it went well or was refused as a mistake, on one screen."""
        told = f"{case}\nea {' '.join(self.words)}\n{self.output[-3000:]}"
        assert self.code in (0, 2), f"exit code {self.code}: {told}"
        assert "Traceback" not in self.output, told
        assert "Bug:" not in self.output, told
        assert "\x1b" not in self.output, told
        assert "weights_only" not in self.output, told
        assert "trust_remote_code" not in self.output.replace("trust_remote_code:", ""), told
        assert len(self.output) < 20_000 or not self.code, f"{len(self.output)} characters: {told}"
        assert not self.outlived, f"processes outlive it: {told}"
        assert self.peak_bytes < MOST_BYTES, f"{self.peak_bytes} bytes: {told}"


class Commands:
    """The process that has modules imported, and starts the calls.

    Args:
        imports: What is imported: the less, the faster a call starts.
    """

    def __init__(self, imports: Sequence[str] = NETWORKS) -> None:
        self._imports = imports

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(FAKE), "EA_DEBUG": ""}  # as users see it
        self._process = subprocess.Popen(  # noqa: S603 (this file)
            [sys.executable, __file__, *self._imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, words: list[str], folder: Path) -> Outcome:
        """Run `ea WORDS` in a folder; "load MODEL WEIGHTS [LORA]" does what `ea run` does before its first clip."""
        self._process.stdin.write(json.dumps([words, str(folder)]) + "\n")
        self._process.stdin.flush()
        return Outcome(words, **json.loads(self._process.stdout.readline()))


VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 7, 10**5, 10**8, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e300,
    float("nan"), float("inf"), "", "x", "gelu", "../..", "/dev/zero", "\x1b[31m\x07", "\ud800", "x" * 100_000, "a\nb",
    [], [None], [0], ["x"], [1] * 1000, {}, {"x": 1}, [[]], [{}], {"a": {"b": {"c": []}}},
)  # fmt: skip
"""What a value may be replaced by."""
KEYS = (
    "quantization_config",
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "torch_dtype",
    "dtype",
    "x" * 9999,
)
"""What may be added to an object."""


def spoil_json(rng: random.Random, content: dict[str, Any]) -> str:
    """A JSON text in which a value or two are not what they were, or that is none at all."""
    if rng.random() < 0.15:
        text = json.dumps(content)
        return rng.choice(
            [
                text[: rng.randrange(len(text))],
                text.replace(":", ":" + "[" * 100_000, 1),
                '{"a":' * 100_000 + "1" + "}" * 100_000,
                text + text,
                "[]",
                "",
                "\ufeff" + text,
                text.replace("{", '{"_class_name": 3, ', 1),
                text.replace('"', "'"),
            ]
        )
    spoilt: dict[str, Any] = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        place, key = rng.choice(list(_list_places(spoilt)) or [(spoilt, "x")])
        deed = rng.random()
        if deed < 0.7:
            place[key] = copy.deepcopy(rng.choice(VALUES))
        elif deed < 0.85:
            del place[key]
        else:
            spoilt[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(spoilt)


def spoil_bytes(rng: random.Random, content: bytes, region: int | None = None) -> bytes:
    """Bytes some of which are others, cut, doubled or moved, within the first `region` of them."""
    spoilt, end = bytearray(content), min(region or len(content), len(content)) or 1
    deed = rng.randrange(5)
    if deed == 0:
        return bytes(spoilt[: rng.randrange(len(spoilt) or 1)])
    if deed == 1:
        return bytes(spoilt) + rng.randbytes(rng.randrange(1, 100))
    start = rng.randrange(end)
    if deed == 2:
        spoilt[start : start + rng.randrange(1, 50)] = rng.randbytes(rng.randrange(50))
        return bytes(spoilt)
    for _ in range(rng.choice([1, 3, 20])):
        spoilt[rng.randrange(end)] = rng.randrange(256)
    return bytes(spoilt)


def _list_places(value: object) -> Any:
    """Every container and key of a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _list_places(inner)


def _serve() -> None:
    """Start the calls that are asked for, line by line."""
    import importlib

    os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", COLUMNS="120")
    for name in sys.argv[1:]:
        importlib.import_module(name)
    importlib.import_module("easyanimate_core.registry").load_plugins().commands()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    answers = sys.stdout
    for line in sys.stdin:
        words, folder = json.loads(line)
        answers.write(json.dumps(_fork(words, Path(folder))) + "\n")
        answers.flush()


def _fork(words: list[str], folder: Path) -> dict[str, Any]:
    said = folder / ".said"
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _call(words, folder, said)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > MOST_SECONDS:
            os.kill(child, 9)
        time.sleep(0.005)
    outlived = _stop_group(child)
    output = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    said.unlink(missing_ok=True)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "output": output,
        "seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "outlived": outlived,
    }


def _stop_group(group: int) -> bool:
    """Whether processes that the call started outlived it; they do no longer."""
    states = [_read_state(path) for path in Path("/proc").glob("[0-9]*/stat")]
    found = any(number == group and state != "Z" for state, number in states)
    if found:
        os.killpg(group, 9)
    return found


def _read_state(path: Path) -> tuple[str, int]:
    """State of a process, and the number of its group; of one that has ended, nothing."""
    try:
        state, _, group = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return "Z", 0
    return state, int(group)


def _call(words: list[str], folder: Path, said: Path) -> None:
    """Be the call; does not return."""
    import resource

    from easyanimate_cli.start import main

    os.setsid()
    os.chdir(folder)
    os.environ.update(EA_HOME=str(folder / HOME), XDG_CACHE_HOME=str(folder / HOME))
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(own, target)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _GUARD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    code = 1
    try:
        sys.argv = ["ea", *words]
        _load(*words[1:]) if words[0] == "load" else main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 (of this file: everything else is reported)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _load(model: str, weights: str, *loras: str) -> None:
    from easyanimate_cli.failure import report
    from easyanimate_core.model import open_model

    try:
        open_model(model, weights=weights, loras=loras, device="cpu").load()
    except BaseException as error:  # noqa: BLE001 (as the command line has it)
        sys.exit(report(error))


if __name__ == "__main__":
    _serve()
