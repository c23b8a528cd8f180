"""Runs the stages of a data set: what is still to do, done by an engine, noted in the journal, put into the table."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.request import Progress

from easyanimate_data.preparation.engine import Engine
from easyanimate_data.preparation.need import check_room
from easyanimate_data.preparation.rule import Threshold, apply_rules, refuse_nothing_left
from easyanimate_data.preparation.stage import find_stage, list_stages
from easyanimate_data.preparation.table import key_of, waiting_column

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from easyanimate_core import StageContext, StageSpec, Work

    from easyanimate_data.preparation.folder import DatasetFolder
    from easyanimate_data.preparation.journal import Outcome
    from easyanimate_data.preparation.settings import PrepareSettings
    from easyanimate_data.preparation.table import Row

_logger = logging.getLogger("easyanimate.data")


def check_stages(settings: PrepareSettings) -> None:
    """Refuse settings that cannot work, before a folder is opened.

    Raises:
        EasyAnimateError: With what is accepted.
    """
    context = settings.make_context(Path())
    for key, stage in list_stages().items():
        section = settings.settings_of(key)
        given = key in settings.stages or (key in settings.filters and section.options)
        if given and stage.work:
            stage.work(section, context).check()


def check_needs(settings: PrepareSettings, out: Path, videos: Path | None = None, *, done: Container[str] = ()) -> None:
    """Refuse what the stages need and is not there, before a folder is opened.

    Args:
        settings: Of all stages.
        out: The data set's folder, there or not.
        videos: Folder of the raw videos; None where no stage reads them.
        done: Stages that an earlier run came to, which may have nothing left to do.

    Raises:
        EasyAnimateError: With what is missing.
    """
    context, stages = settings.make_context(out, videos), list_stages()
    for key in settings.stages:
        work = stages[key].work
        if work and key not in done:
            work(settings.settings_of(key), context).check_needs()
    find = stages[settings.stages[0]].find_sources
    if videos is not None and find:
        sources = find(settings.settings_of(settings.stages[0]), context)
        check_room(out, [videos / source for source in sources])


@dataclass(frozen=True, kw_only=True)
class StageRunner:
    """Runs stages of one data set.

    Args:
        folder: The data set.
        settings: Settings of all stages.
        engine: Where work runs.
        input_folder: Where the raw videos lie; None where no stage reads them.
        retry_errors: Whether items that ended with an error are done again.
        replace: Whether all items are done again.
        on_progress: Is told how many of a stage's items are done; the phase is the key of the stage.
    """

    folder: DatasetFolder
    settings: PrepareSettings
    engine: Engine = field(default_factory=Engine)
    input_folder: Path | None = None
    retry_errors: bool = False
    replace: bool = False
    on_progress: Callable[[Progress], None] = lambda _: None

    def run_all(self) -> Path:
        """Run the stages of the settings, whatever stages ran before.

        Returns:
            The file that the last stage wrote, or the table.

        Raises:
            EasyAnimateError: What stops the run; what was finished is kept.
        """
        stages = {key: find_stage(key, self._stages) for key in self.settings.stages}
        first = next(iter(stages.values()))
        if first.find_sources is None and not len(self.folder.table):
            raise RequestError(
                "There are no clips yet.",
                received=f"stages {', '.join(stages)}",
                expected="stages that begin with split",
            )
        noted = self.folder.settings
        noted["rules"] = {}  # each stage adds its own
        working = [key for key, stage in stages.items() if stage.work or stage.rule]
        noted["stages"] = {key: noted["stages"].get(key, {}) for key in (*working, *noted["stages"])}
        self._apply_rules()  # saved by the stages: what is refused before the first one changes nothing
        written = [path for key in stages if (path := self.run(key))]
        self.folder.save()
        return written[-1] if written else self.folder.table_path

    def run(self, key: str) -> Path | None:
        """Run one stage; the file that it wrote, if it wrote one.

        Raises:
            MediaError: When no clip is left.
        """
        stage = find_stage(key, self._stages)
        self.fill(key)
        self.drop(key)
        if stage.work and not (stage.rule or stage.find_sources):
            self._apply_rules(before=key)  # what later stages drop is no fault of this one
            refuse_nothing_left(self.folder.table, key, None)
            self._apply_rules()
        return stage.write(self.settings.settings_of(key), self.folder) if stage.write else None

    def fill(self, key: str) -> None:
        """Do the work of a stage, if it has any."""
        stage = find_stage(key, self._stages)
        if stage.work is None:
            return
        work = stage.work(self.settings.settings_of(key), self._context)
        if stage.find_sources is None:
            self._fill_columns(stage, work)
        else:
            self._add_rows(key, stage.find_sources(self.settings.settings_of(key), self._context), work)

    def drop(self, key: str) -> None:
        """Apply the rule of a stage, if it has one, and all other rules anew.

        Raises:
            MediaError: When no clip is left.
        """
        stage = find_stage(key, self._stages)
        if stage.rule is None:
            return
        rule: Any = stage.rule(self.settings.settings_of(key))
        self.folder.settings["rules"][key] = asdict(rule)
        self.folder.settings["stages"].setdefault(key, {})  # its position in the order
        self._apply_rules()
        self.folder.save()
        refuse_nothing_left(self.folder.table, key, rule.column if isinstance(rule, Threshold) else None)

    @cached_property
    def _stages(self) -> dict[str, StageSpec]:
        return list_stages()

    @property
    def _context(self) -> StageContext:
        return self.settings.make_context(self.folder.path, self.input_folder)

    def _apply_rules(self, *, before: str | None = None) -> None:
        """Decide anew which clips are kept, by all rules or by those of the stages before one."""
        rules, stages = self.folder.list_rules(), list(self.folder.settings["stages"])
        later = stages[stages.index(before) :] if before in stages else []
        kept = [rule for stage, rule in rules.items() if stage not in later]
        waiting = self.folder.table.find_waiting(self._list_columns())
        apply_rules(self.folder.table, kept, compat=self.settings.compat, waiting=waiting)

    def _list_columns(self, *, before: str | None = None) -> list[str]:
        """The columns that stages fill, of all that ran or of those before one."""
        stages = list(self.folder.settings["stages"])
        earlier = stages[: stages.index(before)] if before in stages else stages
        return [self._stages[key].column for key in earlier if key in self._stages]

    def _add_rows(self, key: str, sources: Sequence[str], work: Work) -> None:
        """Work on the sources that the table does not have yet, and put the rows of their clips in order."""
        folder, table = self.folder, self.folder.table
        folder.settings["input"] = str(self._context.input)
        self._begin(key, work)
        folder.remove_parts()
        known = set(table.column("source"))
        wanted = [source for source in sources if source not in known]
        try:
            outcomes = self._work(key, work, [{"source": source, "file_path": None} for source in wanted])
        except BaseException:
            folder.remove_parts()
            raise
        for source in wanted:
            outcome = outcomes[source]
            table.extend(outcome.values.get("clips") or [{"source": source, "error": f"{key}: {outcome.error}"}])
        table.sort()
        self._apply_rules()
        folder.save()
        _report_outcomes(key, outcomes, f"{len(table.find_clips())} clips")

    def _fill_columns(self, stage: StageSpec, work: Work) -> None:
        """Add columns to the clips that the stages before this one keep."""
        folder, table, key = self.folder, self.folder.table, stage.key
        self._begin(key, work, stage.column)
        self._apply_rules(before=key)
        waiting = table.find_waiting(self._list_columns(before=key))
        indices = {key_of(table.row(index)): index for index in table.find_kept() if index not in waiting}
        todo = [table.row(index) for index in indices.values() if table.column(stage.column)[index] is None]
        outcomes = self._work(key, work, todo)
        for item, outcome in outcomes.items():
            if stage.column in outcome.values and waiting_column(stage.column) in table.columns:
                table.update(indices[item], {waiting_column(stage.column): None})
            table.update(indices[item], outcome.values)
            if outcome.error:
                table.update(indices[item], {"error": f"{key}: {outcome.error}"})
        self._apply_rules()
        folder.save()
        _report_outcomes(key, outcomes, f"{len(table.find_kept())} clips kept")
        _tell_waiting(key, [outcome.values.get(waiting_column(stage.column)) for outcome in outcomes.values()])

    def _begin(self, key: str, work: Work, *columns: str) -> None:
        """Forget what is done again before anything is done: killed at any moment, a run never takes old for new."""
        if self.replace:
            self.folder.forget_stage(key, columns)
        self.folder.claim_stage(key, work.depends_on)
        if self.retry_errors:
            self.folder.forget_errors(key)

    def _work(self, key: str, work: Work, rows: Sequence[Row]) -> dict[str, Outcome]:
        """The outcomes of these rows: from the journal as far as they are there, else from the engine."""
        stage = find_stage(key, self._stages)
        journal = self.folder.journal(key)
        noted = journal.read()
        items = {key_of(row) for row in rows}
        outcomes = {item: outcome for item, outcome in noted.items() if item in items}
        todo = [row for row in rows if key_of(row) not in outcomes]
        with journal:
            for step, (row, outcome) in enumerate(self.engine.run(work, todo), start=1):
                if not _waits(stage, outcome):  # it is done again
                    journal.add(key_of(row), outcome)
                outcomes[key_of(row)] = outcome
                self.on_progress(Progress(key, step, len(todo)))
        return outcomes


def _waits(stage: StageSpec, outcome: Outcome) -> bool:
    return bool(outcome.values.get(waiting_column(stage.column)))


def _tell_waiting(stage: str, errors: Sequence[str | None]) -> None:
    """Say how many clips a stage could not do although nothing is wrong with them.

    Raises:
        MediaError: It could do none.
    """
    failed = Counter(error for error in errors if error)
    if not failed:
        return
    message = f"{stage}: {failed.total()} of {len(errors)} clips wait"
    most = failed.most_common(1)[0][0]
    if failed.total() == len(errors):
        raise MediaError(
            f"{message}; none is dropped.",
            received=most,
            fix="mend that, then run it again (`ea data prepare` with --resume)",
        )
    _logger.warning("%s, and are done when it is run again (`ea data prepare` with --resume): %s", message, most)


def _report_outcomes(stage: str, outcomes: Mapping[str, Outcome], result: str) -> None:
    failed = Counter(outcome.error for outcome in outcomes.values() if outcome.error)
    _logger.info("%s: %d done, %d with an error; %s", stage, len(outcomes), failed.total(), result)
