"""The output folder of a training run: settings, loss log, and checkpoints that are whole or not there."""

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
        config: Settings, a dataclass; written to `train.json` and compared when the run is resumed.
        resume: Resume the run in the folder; otherwise the folder must not hold one.
        is_main: Whether this is the main process, which alone writes what all processes share.
        wait: Waits until all processes get there.

    Raises:
        RequestError: The folder holds another run, or there is nothing to resume.
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
                "There is no run to resume.",
                received=path,
                expected="the folder of an earlier run",
                fix="leave out --resume to start a run",
            )
        if kept.exists() and not resume:
            raise RequestError(
                "The output folder already holds a run.",
                received=path,
                expected="a folder without a run",
                fix="add --resume to resume it, or choose another --out",
            )
        if resume:
            _refuse_changes(json.loads(kept.read_text(encoding="utf-8")), settings)
        wait()  # so that no process finds the file that the main process is about to write
        if is_main:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as part:
                part.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    @property
    def newest(self) -> tuple[int, Path] | None:
        """Step and folder of the newest checkpoint; None where there is none."""
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
    """Step of a log line; infinite for a line that was cut off."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")


CHANGEABLE = {
    "max_steps",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "validate_every",
    "tracker",
    "out",
    "data.workers",
}
"""Settings that a resumed run may change, because they do not change its numbers."""


def _refuse_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise `RequestError` where settings other than those in `CHANGEABLE` differ from those of the run."""
    before, now = _flatten(before), _flatten(now)
    changed = [name for name in sorted((before.keys() | now.keys()) - CHANGEABLE) if before.get(name) != now.get(name)]
    if changed:
        difference = "; ".join(f"{name}: {before.get(name)} -> {now.get(name)}" for name in changed)
        raise RequestError(
            "The settings differ from those of the run to resume.",
            received=difference,
            expected="the same settings",
            fix="resume with the settings of the run, or start a new run with another --out",
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their full names, such as `data.workers`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
