"""The output folder of a training run: configuration, loss log, numbered checkpoints that are never half-written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from easyanimate_core.atomic import atomic_folder, atomic_path, part_folder
from easyanimate_core.errors import MediaError, RequestError
from safetensors import SafetensorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class RunFolder:
    """A folder with `train.json`, `loss.jsonl` and `checkpoints/step-00001000/`.

    Args:
        path: The folder.
        config: A dataclass; kept in `train.json` and compared when the run is resumed.
        resume: Continue from the newest checkpoint. Otherwise the folder must be new.
        is_main: Whether this is the one process, of those that train together, that keeps the folder in order.
        wait: Waits until all processes are there.

    Raises:
        RequestError: When the folder holds another run, or there is nothing to resume.
    """

    def __init__(
        self,
        path: Path,
        config: Any,
        *,
        resume: bool,
        is_main: bool = True,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._is_main, self._wait = is_main, wait
        self._log = path / "loss.jsonl"
        settings = json.loads(json.dumps(dataclasses.asdict(config), default=str))
        kept = path / "train.json"
        if resume and not kept.exists():
            raise RequestError(
                "There is nothing to resume.",
                received=path,
                expected="the folder of an earlier run",
                fix="drop --resume",
            )
        if kept.exists() and not resume:
            raise RequestError(
                "The folder holds an earlier run.",
                received=path,
                expected="a new folder",
                fix="add --resume to continue it, or choose another --out",
            )
        if resume:
            _refuse_changes(json.loads(kept.read_text(encoding="utf-8")), settings)
        wait()  # so that nobody finds what the main process is about to write
        if is_main:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as part:
                part.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    @property
    def newest(self) -> tuple[int, Path] | None:
        """Step and folder of the newest checkpoint."""
        found = self._list_checkpoints()
        return (int(found[-1].name.removeprefix("step-")), found[-1]) if found else None

    def save(self, step: int, write: Callable[[Path], object], *, keep: int = 2) -> Path:
        """Write a checkpoint, whole or not at all, and delete all but the newest `keep`; every process calls it.

        Args:
            step: Optimiser steps taken.
            write: Fills an empty folder.
            keep: Checkpoints that stay.

        Raises:
            MediaError: It cannot be written; the checkpoints before are as they were.
        """
        folder = self._save(self.path / "checkpoints" / f"step-{step:08d}", write)
        if self._is_main:
            for older in self._list_checkpoints()[:-keep]:
                shutil.rmtree(older)
        self._wait()
        return folder

    def save_final(self, write: Callable[[Path], object]) -> Path:
        """Write `weights/`, the result, in the same way."""
        return self._save(self.path / "weights", write)

    def log(self, **values: float) -> None:
        """Append a line to the loss log."""
        if not self._is_main:
            return
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def cut_log(self, step: int) -> None:
        """Remove the lines after `step`: a run that was killed wrote them after its last checkpoint."""
        if self._is_main and self._log.exists():
            lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
            with atomic_path(self._log) as part:
                part.write_text("".join(line for line in lines if _read_step(line) <= step), encoding="utf-8")

    def read_log(self, name: str) -> list[float]:
        """The values of a name in the loss log."""
        if not self._log.exists():
            return []
        return [json.loads(line)[name] for line in self._log.read_text(encoding="utf-8").splitlines()]

    def _list_checkpoints(self) -> list[Path]:
        """Whole checkpoints, the newest last."""
        return sorted(path for path in self.path.glob("checkpoints/step-*") if not path.suffix)

    def _save(self, folder: Path, write: Callable[[Path], object]) -> Path:
        """Let every process write into the temporary folder that the main process makes and renames."""
        try:
            with atomic_folder(folder) if self._is_main else nullcontext(part_folder(folder)) as part:
                self._wait()
                write(part)
                self._wait()
        except (OSError, SafetensorError) as error:
            newest = self.newest
            raise MediaError(
                "The checkpoint cannot be written.",
                received=f"{folder}: {error}",
                fix="make room on the disk and add --resume; "
                f"the last whole checkpoint is {newest[1] if newest else 'none'}",
            ) from error
        self._wait()
        return folder


def _read_step(line: str) -> float:
    """Step of a log line; a line that was cut off counts as too late."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")


FREE = {
    "max_steps",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "validate_every",
    "tracker",
    "out",
    "data.workers",
}
"""What a resumed run may change: how far it goes, what it writes, and who reads ahead."""


def _refuse_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """A resumed run has the settings it began with, but for those in `FREE`."""
    before, now = _flatten(before), _flatten(now)
    changed = [name for name in sorted((before.keys() | now.keys()) - FREE) if before.get(name) != now.get(name)]
    if changed:
        difference = "; ".join(f"{name}: {before.get(name)} -> {now.get(name)}" for name in changed)
        raise RequestError(
            "The settings differ from those the run began with.",
            received=difference,
            expected="the same settings",
            fix="resume with the first settings, or start a new run with another --out",
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names, such as `data.workers`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
