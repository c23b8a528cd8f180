"""The stage `export`: the clips that are kept, as EasyAnimate's dataset JSON or as CSV."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError

from easyanimate_data.preparation.table import text_of, waiting_column

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core.preparation import Dataset

_logger = logging.getLogger("easyanimate.data")

COLUMNS: tuple[str, ...] = ("file_path", "text", "type")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How the training set is listed.

    Args:
        format: "json" as EasyAnimate trains on, or "csv".
        paths: "relative" to the data set's folder, or "absolute".
    """

    format: Literal["json", "csv"] = "json"
    paths: Literal["relative", "absolute"] = "relative"


def export(settings: ExportSettings, dataset: Dataset) -> Path:
    """Write `json_of_internal_datasets.json` (or csv): `file_path`, `text` and `type` of what is kept.

    Raises:
        MediaError: When no clip is kept, or one that is kept is gone.
    """
    folder, rows = dataset.path, list(dataset.table)
    kept = [rows[index] for index in dataset.table.find_kept()]
    captioned = [row for row in kept if text_of(row)]
    num_waiting = 0
    if captioned:  # else nobody has written captions yet
        ready = [
            row for row in kept if not (row.get(waiting_column("caption")) or row.get(waiting_column("rewritten")))
        ]
        num_waiting, kept = len(kept) - len(ready), ready
    if not kept:
        raise MediaError(
            "There is nothing to export.",
            received=f"{len(rows)} rows, all of them dropped",
            expected="at least one clip that is kept",
            fix=f"see why: ea data report {folder}",
        )
    gone = [row["file_path"] for row in kept if not (folder / row["file_path"]).is_file()]
    if gone:
        raise MediaError(
            "Clips of the table are gone.",
            received=f"{len(gone)}, such as {gone[0]}",
            expected=f"files below {folder}",
            fix="put them back, or make them anew: ea data prepare ... --replace",
        )
    base = folder.resolve() if settings.paths == "absolute" else None
    listed = [
        {
            "file_path": (base / row["file_path"]).as_posix() if base else row["file_path"],
            "text": text_of(row),
            "type": row.get("type") or "video",
        }
        for row in kept
    ]
    path = folder / f"{settings.format}_of_internal_datasets.{settings.format}"
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        if settings.format == "json":
            file.write(json.dumps(listed, ensure_ascii=False, indent=2) + "\n")
        else:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(listed)
    num_empty = sum(not item["text"] for item in listed)
    if num_waiting:
        _logger.warning("export: %d clips wait for captions and are left out; run `ea data caption` again", num_waiting)
    num_images = sum(item["type"] == "image" for item in listed)
    images = f" and {num_images} images" if num_images else ""
    empty = f", {num_empty} of them without a caption" if num_empty else ""
    _logger.info("export: %d clips%s%s", len(listed) - num_images, images, empty)
    return path
