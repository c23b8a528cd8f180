"""One stage over a data set: what is still to do, done by an engine, noted in the journal, put into the table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyanimate_data.preparation.progress import say, track
from easyanimate_data.preparation.split import remove_leftovers
from easyanimate_data.preparation.table import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from easyanimate_data.preparation.engine import Engine
    from easyanimate_data.preparation.folder import DatasetFolder
    from easyanimate_data.preparation.journal import Outcome
    from easyanimate_data.preparation.table import Row
    from easyanimate_data.preparation.work import Work


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """How the stages of one command run.

    Args:
        engine: Where.
        retry_errors: Whether items that ended with an error are done again.
        replace: Whether all items are done again.
    """

    engine: Engine
    retry_errors: bool = False
    replace: bool = False


def split_sources(  # noqa: PLR0913 (keyword-only)
    folder: DatasetFolder,
    sources: Sequence[str],
    work: Work,
    run: StageRun,
    *,
    settings: Mapping[str, Any],
    apply_rules: Callable[[], None],
) -> None:
    """Run the stage `split` on the sources that have not been split yet, and put the rows of their clips in order."""
    stage = "split"
    _begin(folder, stage, run, settings=settings)
    remove_leftovers(folder.path)
    known = set(folder.table.column("source"))
    wanted = [source for source in sources if source not in known]
    try:
        outcomes = _run(folder, stage, work, [{"source": source, "file_path": None} for source in wanted], run)
    except BaseException:
        remove_leftovers(folder.path)
        raise
    for source in wanted:
        outcome = outcomes[source]
        clips = outcome.values.get("clips") or [{"source": source, "error": f"{stage}: {outcome.error}"}]
        folder.table.extend(clips)
    folder.table.sort()
    apply_rules()
    folder.save()
    _tell(stage, len(wanted), outcomes, f"{len(folder.table.find_rows(lambda row: row['file_path']))} clips")


def fill_columns(  # noqa: PLR0913 (keyword-only)
    folder: DatasetFolder,
    stage: str,
    work: Work,
    run: StageRun,
    *,
    settings: Mapping[str, Any],
    column: str,
    before: Callable[[], None],
    after: Callable[[], None],
) -> None:
    """Run a stage that adds columns to the clips that are kept so far.

    Args:
        folder: The data set.
        stage: Name of the stage.
        work: What gives the values.
        run: How.
        settings: What the values depend on; refused when they differ from those of an earlier run.
        column: The column by which a clip is known to be done.
        before: Applies the rules of the stages before this one.
        after: Applies all rules, before the table is saved.
    """
    _begin(folder, stage, run, settings=settings, columns=[column])
    before()
    table = folder.table
    places = {key_of(row): place for place, row in enumerate(table) if row["file_path"] and not row["reason"]}
    todo = [table.row(place) for place in places.values() if table.column(column)[place] is None]
    outcomes = _run(folder, stage, work, todo, run)
    for key, outcome in outcomes.items():
        table.update(places[key], outcome.values)
        if outcome.error:
            table.update(places[key], {"error": f"{stage}: {outcome.error}"})
    after()
    folder.save()
    _tell(stage, len(outcomes), outcomes, f"{len(folder.table.find_kept())} clips kept")


def _begin(
    folder: DatasetFolder, stage: str, run: StageRun, *, settings: Mapping[str, Any], columns: Sequence[str] = ()
) -> None:
    """Forget what is to be done again before anything is done: killed at any moment, a run never takes old for new."""
    if run.replace:
        folder.forget_stage(stage, columns)
    folder.claim_stage(stage, settings)
    if run.retry_errors:
        folder.forget_errors(stage)


def _run(folder: DatasetFolder, stage: str, work: Work, rows: Sequence[Row], run: StageRun) -> dict[str, Outcome]:
    """The outcomes of these rows by key: from the journal as far as they are there, else from the engine."""
    journal = folder.journal(stage)
    noted = journal.read()
    keys = {key_of(row) for row in rows}
    outcomes = {key: outcome for key, outcome in noted.items() if key in keys}
    todo = [row for row in rows if key_of(row) not in outcomes]
    with journal:
        for row, outcome in track(run.engine.run(work, todo), stage=stage, total=len(todo)):
            journal.add(key_of(row), outcome)
            outcomes[key_of(row)] = outcome
    return outcomes


def _tell(stage: str, num: int, outcomes: Mapping[str, Outcome], result: str) -> None:
    failed = Counter(outcome.error for outcome in outcomes.values() if outcome.error)
    say(f"{stage}: {num} done, {failed.total()} with an error; {result}")
