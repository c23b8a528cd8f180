"""The stage `export`: the clips that are kept, as EasyAnimate's dataset JSON or as CSV."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError

from easyanimate_data.preparation.table import text_of

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_data.preparation.config import ExportConfig
    from easyanimate_data.preparation.table import ClipTable

FIELDS: tuple[str, ...] = ("file_path", "text", "type")


def export(dataset: Path, table: ClipTable, config: ExportConfig) -> tuple[Path, int, int]:
    """Write `json_of_internal_datasets.json` (or csv): `file_path`, `text` and `type` of every clip that is kept.

    Returns:
        The file, how many clips are in it, and how many of them have no caption (their text is empty).

    Raises:
        MediaError: When no clip is kept, or one that is kept is gone.
    """
    rows = [row for row in table if row["file_path"] and not row["reason"]]
    if not rows:
        raise MediaError(
            "There is nothing to export.",
            received=f"{len(table)} rows, all of them dropped",
            expected="at least one clip that is kept",
            fix=f"see why: ea data report {dataset}",
        )
    gone = [row["file_path"] for row in rows if not (dataset / row["file_path"]).is_file()]
    if gone:
        raise MediaError(
            "Clips of the table are gone.",
            received=f"{len(gone)}, such as {gone[0]}",
            expected=f"files below {dataset}",
            fix="put them back, or make them anew: ea data prepare ... --replace",
        )
    base = dataset.resolve() if config.paths == "absolute" else None
    listed = [
        {
            "file_path": (base / row["file_path"]).as_posix() if base else row["file_path"],
            "text": text_of(row),
            "type": "video",
        }
        for row in rows
    ]
    path = dataset / f"{config.format}_of_internal_datasets.{config.format}"
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        if config.format == "json":
            file.write(json.dumps(listed, ensure_ascii=False, indent=2) + "\n")
        else:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(listed)
    return path, len(listed), sum(not item["text"] for item in listed)
