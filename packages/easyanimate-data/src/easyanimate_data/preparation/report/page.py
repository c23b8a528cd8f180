"""The report of `ea data report`: what came in, what was dropped and why, on one page that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

from easyanimate_core.atomic import atomic_path

from easyanimate_data.preparation.report import chart
from easyanimate_data.preparation.report.count import (
    count_totals,
    count_values,
    describe_rate,
    describe_shape,
    describe_size,
    is_broken,
    is_kept,
    read_number,
)
from easyanimate_data.preparation.report.funnel import follow_clips
from easyanimate_data.preparation.report.sheet import choose_evenly, cut_text, make_sheets
from easyanimate_data.preparation.rule import Threshold, describe_numbers
from easyanimate_data.preparation.table import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from easyanimate_core.preparation import Rule

    from easyanimate_data.preparation.folder import DatasetFolder

    Row = Mapping[str, Any]

REPORT_NAME = "report.html"
TEMPLATE_NAME = "page.html.j2"
NUM_SLOWEST = 10
NUM_SAMPLES = 6
MOST_LISTED = 200
"""Files that a list names; the others are counted."""

NO_SCORES = {"start", "end", "num_frames", "fps", "height", "width", "pixels", "duration"}
"""Columns of numbers that are shown elsewhere, or by no histogram."""


@dataclass(frozen=True)
class Distribution:
    """A column of numbers.

    Args:
        column: Its name, with the unit.
        chart: Its histogram, None when there are no numbers.
        text: Least, quartiles and most.
        inside: Clips in the range that is kept; None without a threshold or without numbers.
        total: Clips with a number.
        missing: Clips without one.
    """

    column: str
    chart: chart.Histogram | None
    text: str
    inside: int | None
    total: int
    missing: int


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, over all files, and its slowest files with their seconds."""

    stage: str
    files: int
    seconds: float
    slowest: list[tuple[str, float]]


def report(_settings: object, folder: DatasetFolder) -> Path:
    """The stage `report`: write the report of a data set."""
    return write_report(
        folder.path,
        rows=list(folder.table),
        rules=folder.list_rules(),
        timings={
            stage: [(key, outcome.seconds) for key, outcome in folder.journal(stage).read().items()]
            for stage in folder.settings["stages"]
        },
        input_folder=str(folder.settings["input"] or ""),
        date=datetime.now(UTC).date().isoformat(),
    )


def write_report(  # noqa: PLR0913 (keyword-only)
    dataset: Path,
    *,
    rows: Sequence[Row],
    rules: Mapping[str, Rule],
    timings: Mapping[str, Sequence[tuple[str, float]]],
    input_folder: str = "",
    date: str = "",
    out: Path | None = None,
    max_clips: int = 24,
) -> Path:
    """Write the report of a data set; equal arguments give equal bytes.

    Args:
        dataset: The folder that the clips lie in.
        rows: The clips table.
        rules: The rules by stage, in the order in which they are applied.
        timings: Seconds per file (a clip or a source) of each stage that ran, the stages in order.
        input_folder: Where the raw videos lie, as text.
        date: When the report was made, as text.
        out: The file; `DATASET/report.html` by default.
        max_clips: Clips on each contact sheet.

    Returns:
        The file. It loads nothing from elsewhere, and runs no scripts.

    Raises:
        OSError: When it cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("easyanimate_data", "preparation/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cut=cut_text, share=_describe_share, time=_describe_time)
    page = environment.get_template(TEMPLATE_NAME).render(
        name=dataset.resolve().name,
        input_folder=input_folder,
        date=date,
        slowest=_list_times(timings),
        steps=follow_clips(rows, rules, timings),
        **_describe_rows(dataset, rows, [rule for rule in rules.values() if isinstance(rule, Threshold)], max_clips),
    )
    path = out or dataset / REPORT_NAME
    with atomic_path(path) as part:
        part.write_bytes(page.encode("utf-8", errors="replace"))
    return path


def find_scores(clips: Sequence[Row], thresholds: Sequence[Threshold] = ()) -> list[str]:
    """Columns that hold numbers, in order: those of the thresholds, and whatever has a number and nothing else."""
    compared = {threshold.column for threshold in thresholds}
    found = []
    for column in dict.fromkeys(name for row in clips for name in row):
        values = [value for row in clips if (value := row.get(column)) is not None]
        numeric = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
        if column not in NO_SCORES and numeric and (values or column in compared):
            found.append(column)
    return found


def _describe_rows(
    dataset: Path, rows: Sequence[Row], thresholds: Sequence[Threshold], max_clips: int
) -> dict[str, Any]:
    """What the template shows of the table."""
    clips = [row for row in rows if row.get("file_path")]
    scores = find_scores(clips, thresholds)
    captioned = [row for row in clips if text_of(row)]
    lengths = [{**row, "characters": len(text_of(row))} for row in captioned]
    return {
        "chart": chart,
        "most_listed": MOST_LISTED,
        "totals": count_totals(rows),
        "distributions": [_distribute(clips, column, thresholds) for column in scores],
        "durations": _distribute(clips, "duration", thresholds, "duration (s)"),
        "properties": {
            "height x width": count_values(clips, describe_size),
            "frames / s": count_values(clips, describe_rate),
            "width / height": count_values(clips, describe_shape),
        },
        "sheets": make_sheets(dataset, clips, scores, thresholds, max_clips),
        "broken": [row for row in rows if is_broken(row)],
        "empty": [row for row in rows if not row.get("file_path") and not row.get("error")],
        "captioned": len(captioned),
        "lengths": _distribute(lengths, "characters", (), "characters"),
        "samples": choose_evenly([*{text_of(row): row["file_path"] for row in captioned}.items()], NUM_SAMPLES),
    }


def _distribute(clips: Sequence[Row], column: str, thresholds: Sequence[Threshold], label: str = "") -> Distribution:
    bounds = [bound for bound in thresholds if bound.column == column and bound != Threshold(column)]
    numbers = [(number, is_kept(row)) for row in clips if (number := read_number(row, column)) is not None]
    histogram = chart.draw_histogram(
        [number for number, kept in numbers if kept],
        [number for number, kept in numbers if not kept],
        minima=[bound.minimum for bound in bounds if bound.minimum is not None],
        maxima=[bound.maximum for bound in bounds if bound.maximum is not None],
    )
    inside = sum(all(bound.keeps(number) for bound in bounds) for number, _ in numbers)
    return Distribution(
        column=label or column,
        chart=histogram,
        text=describe_numbers(number for number, _ in numbers),
        inside=inside if bounds and numbers else None,
        total=len(numbers),
        missing=len(clips) - len(numbers),
    )


def _list_times(timings: Mapping[str, Sequence[tuple[str, float]]]) -> list[StageTime]:
    return [
        StageTime(
            stage,
            len(times),
            sum(seconds for _, seconds in times),
            sorted(((str(key), seconds) for key, seconds in times), key=lambda time: (-time[1], time[0]))[:NUM_SLOWEST],
        )
        for stage, times in timings.items()
        if times
    ]


def _describe_time(seconds: float) -> str:
    """A length of time in the two units that suit it."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def _describe_share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"
