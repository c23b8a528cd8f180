"""The output folder of a training run: settings, loss log, and checkpoints that are whole or not there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from easyanimate_core.atomic import atomic_folder, atomic_path, part_folder
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.folder_lock import LOCK_NAME, lock_folder
from safetensors import SafetensorError

from easyanimate_train.path_meaning import find_places, flatten, leads_to_same

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from easyanimate_train.path_meaning import Place

SETTINGS_NAME = "train.json"
PLACES = "places"
"""Entry of the settings' file beside the settings themselves: where their paths led."""


class RunFolder:
    """A folder with `train.json`, `loss.jsonl` and `checkpoints/step-00001000/`.

    It holds a run from its first checkpoint on; what a start that failed before that left is written over.

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
        self._config, self._is_main, self._wait = config, is_main, wait
        self._log = path / "loss.jsonl"
        check_folder(path, config, resume=resume)
        wait()  # so that no process finds a file that the main process is about to write

    def note_start(self) -> None:
        """Write the settings: a step was taken."""
        if self._is_main:
            settings = json.loads(json.dumps(dataclasses.asdict(self._config), default=str))
            places = find_places(self._config, frozenset(CHANGEABLE))
            with atomic_path(self.path / SETTINGS_NAME) as part:
                part.write_text(json.dumps({**settings, PLACES: places}, indent=1), encoding="utf-8")

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
        return list_checkpoints(self.path)

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


def list_checkpoints(path: Path) -> list[Path]:
    """Whole checkpoints of a run, the newest last."""
    return sorted(folder for folder in path.glob("checkpoints/step-*") if not folder.suffix)


def check_folder(path: Path, config: Any, *, resume: bool) -> None:
    """Refuse a folder that a run cannot begin or go on in; reads only.

    Raises:
        RequestError: It holds a run that is not to be resumed, one with other settings, or none to resume.
    """
    kept = path / SETTINGS_NAME
    holds_run = bool(list_checkpoints(path)) or (path / "weights").exists()
    if resume and not kept.exists():
        raise RequestError(
            "There is no run to resume.",
            received=path,
            expected="the folder of an earlier run",
            fix="leave out --resume to start a run",
        )
    if holds_run and not resume:
        raise RequestError(
            "The output folder already holds a run.",
            received=path,
            expected="a folder without a run",
            fix="add --resume to resume it, or choose another --out",
        )
    if resume and holds_run:
        try:
            before = json.loads(kept.read_text(encoding="utf-8"))
            places = before.pop(PLACES, {})
        except (OSError, ValueError, AttributeError) as error:
            raise RequestError(
                "The settings of the run to resume cannot be read.", received=f"{kept}: {error}"
            ) from error
        _refuse_changes(before, places, config)


@contextmanager
def claim_run(config: Any, *, resume: bool) -> Generator[None]:
    """Check the output folder of a run before anything is loaded, and keep other runs out of it while the block runs.

    Nothing of a run that fails before its first step stays. Further processes of the run do nothing here.

    Args:
        config: Settings with `out`.
        resume: Whether a run in it is resumed.

    Raises:
        RequestError: See `check_folder`.
        MediaError: Another run is at work in it, or it cannot be written.
    """
    path: Path = config.out
    place = os.path.realpath(path)  # `Path.resolve` fails at links that lead to themselves
    if not is_main_process() or place in _claimed:
        yield
        return
    with lock_folder(path):
        check_folder(path, config, resume=resume)
        empty = all(child.name == LOCK_NAME for child in path.iterdir())
        _clear_parts(path)
        _claimed.add(place)
        try:
            yield
        finally:
            _claimed.discard(place)
            if empty and not (path / SETTINGS_NAME).exists():
                for child in (child for child in path.iterdir() if child.name != LOCK_NAME):
                    _remove(child)


_claimed: set[str] = set()
"""Folders that this process keeps for its run: a command claims one before the loop does."""


def is_main_process() -> bool:
    """Whether this is the only process of a run or the first of several, as their launcher says."""
    return os.environ.get("RANK", "0") == "0"


def _clear_parts(path: Path) -> None:
    """Remove what a run that was killed left half-written."""
    for part in (*path.glob("checkpoints/.*.part"), *path.glob("checkpoints/*.tmp"), *path.glob(".*.part*")):
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _list_defaults(config: Any) -> dict[str, Any]:
    """The values of settings that nobody gives, as JSON has them."""
    made = {
        item.name: item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        for item in dataclasses.fields(config)
    }
    known = {name: value for name, value in made.items() if value is not dataclasses.MISSING}
    plain = {
        name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        for name, value in known.items()
    }
    return json.loads(json.dumps(plain, default=str))


def _refuse_changes(before: dict[str, Any], places: dict[str, Place], config: Any) -> None:
    """Raise `RequestError` where settings other than those in `CHANGEABLE` differ from those of the run."""
    old = flatten(before)
    new = flatten(json.loads(json.dumps(dataclasses.asdict(config), default=str)))
    new_places = find_places(config, frozenset(CHANGEABLE))
    usual = flatten(_list_defaults(config))
    changed: list[str] = []
    for name in sorted((old.keys() | new.keys()) - CHANGEABLE):
        if name in places and name in new_places:
            if not leads_to_same(places[name], new_places[name]):
                changed.append(name)
        elif name not in old and new[name] == usual.get(name):
            continue  # the run began before there was such a setting
        elif old.get(name) != new.get(name):
            changed.append(name)
    if changed:
        difference = "; ".join(
            f"{name}: {old.get(name)} -> {new.get(name)}"
            + (" (with other files)" if name in places and name in new_places else "")
            for name in changed
        )
        raise RequestError(
            "The settings differ from those of the run to resume.",
            received=difference,
            expected="the same settings",
            fix="resume with the settings of the run, or start a new run with another --out",
        )
