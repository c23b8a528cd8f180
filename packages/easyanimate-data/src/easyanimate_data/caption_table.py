"""`ea data captions`: the captions of a folder as a CSV file, to be typed or edited, and back."""

from __future__ import annotations

import csv
import json
import os
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.table_text import decode_text, find_delimiter

from easyanimate_data.training.entry import DATASET_NAME, list_files, read_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_data.training.entry import Entry

TABLE_NAME = "captions.csv"
COLUMNS = ("file_path", "text")


def edit_captions(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A prepared data set, a training set, or a folder of clips and images."),
    ],
    *,
    table: Annotated[
        Path | None,
        typer.Option("--from", metavar="CSV", help="Takes the captions of this file over, which was written before."),
    ] = None,
) -> None:
    """Write the captions of a folder to DIR/captions.csv, to type or edit them; with --from, take them over."""
    from easyanimate_data.preparation.folder import has_run

    if not folder.is_dir():
        raise MediaError("There is no such folder.", received=folder, expected="a folder with clips")
    prepared = has_run(folder)
    if table is None:
        rows = _list_prepared(folder) if prepared else _list_others(folder)
        path = folder / TABLE_NAME
        if path.exists():
            raise MediaError(
                "The file is there already, perhaps with captions that were typed.",
                received=path,
                fix=f"take it over with --from {path}, or move it away",
            )
        _write_table(path, rows)
        typer.echo(path)
        return
    captions = _read_table(table)
    num = _take_over_prepared(folder, captions) if prepared else _take_over_others(folder, captions)
    typer.echo(f"{num} captions changed: {folder}")


def _write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    _write(path, "\ufeff" + text.getvalue())  # the mark by which spreadsheets know UTF-8


def _write(path: Path, text: str) -> None:
    try:
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise MediaError(
            f"The file cannot be written: {error.strerror or error}.",
            received=path,
            expected="a folder that can be written",
        ) from error


def _read_table(path: Path) -> dict[str, str]:
    """Captions by file."""
    try:
        text = decode_text(path.read_bytes())
        rows = list(csv.DictReader(StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise MediaError(
            "The captions cannot be read.", received=f"{path}: {error}", expected="a CSV file with file_path and text"
        ) from error
    for number, row in enumerate(rows):
        if any(row.get(name) is None for name in COLUMNS):
            raise MediaError(
                "A row of the captions is not whole.",
                received=f"{path}, row {number}: {dict(row)}"[:200],
                expected="a header with file_path and text, and rows with both",
            )
    return {str(row["file_path"]).replace("\\", "/"): str(row["text"]).strip() for row in rows}


def _refuse_unknown(captions: Mapping[str, str], known: Iterable[str]) -> None:
    if unknown := sorted(captions.keys() - set(known)):
        raise RequestError(
            "The captions name files that are not in the folder.",
            received=", ".join(unknown[:5]),
            expected=f"file_path as `ea data captions` wrote it into {TABLE_NAME}",
        )


def _list_prepared(folder: Path) -> list[tuple[str, str]]:
    from easyanimate_data.preparation.folder import open_folder
    from easyanimate_data.preparation.table import text_of

    with open_folder(folder) as opened:
        rows = [opened.table.row(index) for index in opened.table.find_kept()]
    return [(row["file_path"], text_of(row)) for row in rows]


def _take_over_prepared(folder: Path, captions: Mapping[str, str]) -> int:
    """Put captions into the table, where training texts are taken from; a caption that is emptied waits again."""
    from easyanimate_data.preparation.folder import open_folder
    from easyanimate_data.preparation.table import text_of, waiting_column

    with open_folder(folder) as opened:
        table = opened.table
        places = {table.row(index)["file_path"]: index for index in table.find_clips()}
        _refuse_unknown(captions, places)
        changed = 0
        for file, text in captions.items():
            row = table.row(places[file])
            if text == text_of(row):
                continue
            changed += 1
            column = "rewritten" if row.get("rewritten") and text else "caption"
            table.update(places[file], {column: text or None, **({} if text else {"rewritten": None})})
            for name in ("caption", "rewritten"):
                if waiting_column(name) in table.columns:
                    table.update(places[file], {waiting_column(name): None})
        opened.save()
    return changed


def _read_others(folder: Path) -> list[Entry]:
    """The entries of a training set, or the files of a folder that is none yet."""
    try:
        return read_entries(folder).entries
    except MediaError:
        return list_files(folder, needs_captions=False).entries


def _name(entry: Entry, folder: Path) -> str:
    try:
        return Path(os.path.relpath(entry.file, folder.absolute())).as_posix()
    except ValueError:  # another drive of Windows
        return entry.file


def _list_others(folder: Path) -> list[tuple[str, str]]:
    return [(_name(entry, folder), entry.text) for entry in _read_others(folder)]


def _take_over_others(folder: Path, captions: Mapping[str, str]) -> int:
    """Write the list of the folder, which training reads, with these captions."""
    entries = {_name(entry, folder): entry for entry in _read_others(folder)}
    _refuse_unknown(captions, entries)
    rows: list[dict[str, object]] = []
    changed = 0
    for name, entry in entries.items():
        text = captions.get(name, entry.text)
        changed += text != entry.text
        further = {"height": entry.height, "width": entry.width, "fps": entry.fps}
        known = {key: value for key, value in further.items() if value is not None}
        rows.append({"file_path": name, "text": text, "type": entry.kind, **known})
    _write(folder / DATASET_NAME, json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
    return changed
