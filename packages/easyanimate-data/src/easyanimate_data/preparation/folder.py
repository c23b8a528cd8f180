"""The folder of a data set in the making: table, journals, settings, and a lock against a second run."""

from __future__ import annotations

import errno
import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.folder_lock import LOCK_NAME, explain_unwritable, lock_folder

from easyanimate_data.preparation.journal import Journal
from easyanimate_data.preparation.stage import restore_rule
from easyanimate_data.preparation.table import TABLE_NAME, ClipTable, read_table, write_table
from easyanimate_data.preparation.work import stop_run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from pathlib import Path

    from easyanimate_core.preparation import Rule

SETTINGS_NAME = "prepare.json"
JOURNALS_FOLDER = "journal"
CLIPS_FOLDER = "clips"
EXPORTS = ("json_of_internal_datasets.json", "csv_of_internal_datasets.csv", "report.html")

_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


class DatasetFolder:
    """What `ea data ...` reads and writes in a data set's folder; get one from `open_folder`.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reload()

    def reload(self) -> None:
        """Read what is on disk now."""
        path = self.path
        self.settings: dict[str, Any] = {"input": None, "stages": {}, "rules": {}}
        if (path / SETTINGS_NAME).is_file():
            self.settings = json.loads((path / SETTINGS_NAME).read_text(encoding="utf-8"))
        self.table = read_table(path / TABLE_NAME) if (path / TABLE_NAME).is_file() else ClipTable()

    @property
    def table_path(self) -> Path:
        """The table on disk."""
        return self.path / TABLE_NAME

    def list_rules(self) -> dict[str, Rule]:
        """The rules that clips are dropped by, in order, by stage.

        Raises:
            PluginError: When a stage with a rule of its own is not installed any more.
        """
        return {stage: restore_rule(stage, noted) for stage, noted in self.settings["rules"].items()}

    def journal(self, stage: str) -> Journal:
        """The journal of a stage."""
        return Journal(self.path / JOURNALS_FOLDER / f"{stage}.jsonl")

    def save(self) -> None:
        """Write table and settings; each file is whole at every moment."""
        write_table(self.table_path, self.table)
        self.save_settings()

    def save_settings(self) -> None:
        """Write the settings."""
        with atomic_path(self.path / SETTINGS_NAME) as part:
            part.write_text(json.dumps(self.settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def claim_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """Note with which settings a stage runs.

        Raises:
            RequestError: When it ran before with others, listing the differences.
        """
        new = json.loads(json.dumps(settings, default=str))
        old = self.settings["stages"].get(stage)
        if old and old != new:
            differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            raise RequestError(
                f"The stage {stage} was run with other settings.",
                received="; ".join(f"{name}: {old.get(name)!r} then, {new.get(name)!r} now" for name in differing),
                expected="the same settings for all clips",
                fix="give the settings of the first run, or add --replace to do it again",
            )
        self.settings["stages"][stage] = new
        self.save_settings()

    def forget_stage(self, stage: str, columns: Iterable[str] = ()) -> None:
        """Forget, on disk too, that a stage ran and the columns that it wrote, so that it does all clips again."""
        self.journal(stage).forget()
        self.table.drop_columns(columns)
        self.forget_errors(stage)
        if stage in self.settings["stages"]:
            self.settings["stages"][stage] = {}  # its position in the order stays

    def forget_errors(self, stage: str) -> None:
        """Forget, on disk too, that items of a stage failed, so that they are done again."""
        journal = self.journal(stage)
        if failed := {key for key, outcome in journal.read().items() if outcome.error}:
            journal.forget(failed)
        paths, errors = self.table.column("file_path"), self.table.column("error")
        indices = [index for index, error in enumerate(errors) if error and error.startswith(f"{stage}: ")]
        for index in indices:
            errors[index] = None
        self.table.drop_rows(index for index in indices if paths[index] is None)
        write_table(self.table_path, self.table)

    def remove_parts(self) -> None:
        """Remove the clips that a run which was stopped left half-written."""
        for part in (self.path / CLIPS_FOLDER).rglob(".*.part"):
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def open_folder(path: Path) -> Generator[DatasetFolder]:
    """Open a data set's folder, made when missing, for one run at a time.

    Raises:
        MediaError: When another run is at work in it, it cannot be written, or the disk is full.
    """
    try:
        with lock_folder(path):
            for part in _find_parts(path):
                part.unlink(missing_ok=True)
            yield DatasetFolder(path)
    except OSError as error:
        stop_run(error)
        if error.errno not in _NOT_WRITABLE:
            raise
        raise explain_unwritable(path, error) from error


def has_run(path: Path) -> bool:
    """Whether the folder holds a data set in the making."""
    return (path / SETTINGS_NAME).is_file() or (path / TABLE_NAME).is_file()


def list_journals(path: Path) -> set[str]:
    """The stages of a data set that noted something."""
    return {journal.stem for journal in (path / JOURNALS_FOLDER).glob("*.jsonl")}


def refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds anything but a data set in the making.

    Raises:
        MediaError: Naming what is there.
    """
    if path.exists() and not path.is_dir():
        raise MediaError("This is a file, not a folder.", received=path, fix="choose another folder with --out")
    if not path.is_dir() or has_run(path):
        return
    parts = _find_parts(path)  # a run was killed before it had written anything else
    others = sorted(item.name for item in path.iterdir() if item.name != LOCK_NAME and item not in parts)
    if others:
        raise MediaError(
            "The folder holds other files.",
            received=f"{path}: {', '.join(others[:5])}",
            expected="a new or empty folder, or one that an earlier run left",
            fix="choose another folder with --out",
        )


def clear(path: Path) -> None:
    """Remove what earlier runs left in a data set's folder; other files stay.

    What refers to something goes before it, and the settings last: killed in between, a run can go on or start anew.
    """
    for name in (*EXPORTS, TABLE_NAME):
        (path / name).unlink(missing_ok=True)
    for name in (JOURNALS_FOLDER, CLIPS_FOLDER):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / SETTINGS_NAME).unlink(missing_ok=True)


def _find_parts(path: Path) -> list[Path]:
    """Half-written tables, settings and journals of a run that was killed."""
    return [*path.glob(".*.part.*"), *(path / JOURNALS_FOLDER).glob(".*.part.*")]
