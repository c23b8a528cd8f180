"""The clips table: one row per clip in a Parquet file, all columns kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Row = dict[str, Any]

TABLE_NAME = "clips.parquet"

FIRST_COLUMNS = (
    "source",
    "file_path",
    "start",
    "end",
    "num_frames",
    "fps",
    "height",
    "width",
    "pixels",
    "duration",
    "error",
    "reason",
)
"""What every table has: where a clip comes from, where it lies, what it is, and why it was dropped."""


def key_of(row: Mapping[str, Any]) -> str:
    """What a row is called in journals: its clip, or its source where that gave no clip."""
    return str(row["file_path"] or row["source"])


def text_of(row: Mapping[str, Any]) -> str:
    """The text of a clip: its rewritten caption, else its caption, else nothing."""
    return str(row.get("rewritten") or row.get("caption") or "")


def waiting_column(column: str) -> str:
    """Where a stage that fills a column says why a clip waits: the clip is kept, and the next run does it again."""
    return f"{column}_error"


class ClipTable:
    """Rows by index, columns by name; a row that lacks a column has None there.

    Args:
        columns: Values of all rows per column, all of one length.
        types: Arrow's types of columns that were read, for those that it cannot tell from the values.
    """

    def __init__(
        self, columns: Mapping[str, Sequence[Any]] | None = None, types: Mapping[str, Any] | None = None
    ) -> None:
        self.types = types or {}
        self.columns: dict[str, list[Any]] = {name: [] for name in FIRST_COLUMNS}
        length = max((len(values) for values in (columns or {}).values()), default=0)
        for name in FIRST_COLUMNS:
            self.columns[name] = [None] * length
        self.columns |= {name: list(values) for name, values in (columns or {}).items()}

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.columns["source"])

    def __iter__(self) -> Iterator[Row]:
        """All rows in order."""
        return (self.row(index) for index in range(len(self)))

    def row(self, index: int) -> Row:
        """A copy of one row."""
        return {name: values[index] for name, values in self.columns.items()}

    def column(self, name: str) -> list[Any]:
        """All values of a column, which is made when there is none."""
        if name not in self.columns:
            self.columns[name] = [None] * len(self)
        return self.columns[name]

    def update(self, index: int, values: Mapping[str, Any]) -> None:
        """Set columns of one row."""
        for name, value in values.items():
            self.column(name)[index] = value

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows at the end."""
        for row in rows:
            for name in row:
                self.column(name)
            for name, values in self.columns.items():
                values.append(row.get(name))

    def find_clips(self) -> list[int]:
        """Row indices of all clips, dropped or not."""
        return [index for index, path in enumerate(self.columns["file_path"]) if path]

    def find_kept(self) -> list[int]:
        """Row indices of the clips that no rule has dropped."""
        reasons = self.columns["reason"]
        return [index for index in self.find_clips() if not reasons[index]]

    def find_waiting(self, columns: Iterable[str]) -> set[int]:
        """Row indices of the clips that wait for one of these columns."""
        noted = [self.columns[name] for name in map(waiting_column, columns) if name in self.columns]
        return {index for errors in noted for index, error in enumerate(errors) if error}

    def drop_rows(self, indices: Iterable[int]) -> None:
        """Remove rows."""
        gone = set(indices)
        for name, values in self.columns.items():
            self.columns[name] = [value for index, value in enumerate(values) if index not in gone]

    def sort(self) -> None:
        """Put the rows into natural order of their source, then of their start in it, so that 2 comes before 10.

        Names that are naturally equal, such as 1.mp4 and 01.mp4, do not mix.
        """
        from natsort import natsort_keygen

        natural = natsort_keygen()
        sources, starts = self.columns["source"], self.columns["start"]
        order = sorted(range(len(self)), key=lambda i: (natural(sources[i]), sources[i], starts[i] or 0.0))
        self.columns = {name: [values[i] for i in order] for name, values in self.columns.items()}

    def drop_columns(self, names: Iterable[str]) -> None:
        """Forget columns, as far as they are there."""
        for name in names:
            self.columns.pop(name, None)


def read_table(path: Path) -> ClipTable:
    """Read a table.

    Raises:
        MediaError: When there is none, or it lacks the columns that every table has.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise MediaError(
            "The clips table cannot be read.",
            received=f"{path}: {error}",
            expected="a Parquet file that `ea data split` or `ea data prepare` wrote",
        ) from error
    missing = [name for name in ("source", "file_path") if name not in table.column_names]
    if missing:
        raise MediaError(
            "The clips table lacks columns.", received=", ".join(table.column_names), expected=", ".join(missing)
        )
    return ClipTable(table.to_pydict(), dict(zip(table.schema.names, table.schema.types, strict=True)))


def write_table(path: Path, table: ClipTable) -> None:
    """Write a table; the file is whole or, after an error, as it was.

    Raises:
        MediaError: When a column holds values of different kinds.
    """
    import pyarrow as pa
    from pyarrow import parquet

    arrow = pa.table(
        {name: _make_column(name, values, table.types.get(name)) for name, values in table.columns.items()}
    )
    with atomic_path(path) as part:
        parquet.write_table(arrow, part, compression="zstd")


def _make_column(name: str, values: list[Any], known: Any) -> Any:
    """An Arrow array of the type that the values have, else of the type that the column was read with."""
    import pyarrow as pa

    failures = (pa.ArrowException, OverflowError, TypeError, ValueError)
    try:
        return pa.array(values)
    except failures as error:
        try:
            return pa.array(values, known)
        except failures:
            raise MediaError(
                f"The column {name} cannot be written.",
                received=str(error),
                expected="values of one kind",
                fix="mend what writes it, then run that stage again with --replace",
            ) from error
