"""The stages of `ea data prepare`, one after the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from inspect import signature
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.config import OTHER_STAGES, PrepareConfig, TextConfig
from easyanimate_data.preparation.export import export
from easyanimate_data.preparation.progress import say
from easyanimate_data.preparation.rule import ALIKE, Rule, Threshold, Unalike, apply_rules, refuse_nothing_left
from easyanimate_data.preparation.score import Score, complete_options
from easyanimate_data.preparation.source import find_sources
from easyanimate_data.preparation.split import Split
from easyanimate_data.preparation.stage import StageRun, fill_columns, split_sources
from easyanimate_data.preparation.text_work import Caption, Rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from easyanimate_core import FilterSpec

    from easyanimate_data.preparation.folder import DatasetFolder
    from easyanimate_data.preparation.work import Work


def check_stages(stages: tuple[str, ...], config: PrepareConfig) -> None:
    """Refuse unknown stages and settings before anything runs.

    Raises:
        PluginError: Naming the stages that there are.
        RequestError: For settings of a filter that does not have them.
    """
    plugins = load_plugins()
    for key in [*stages, *config.filters]:
        if key not in OTHER_STAGES:
            if key not in plugins.filters():
                known = (*OTHER_STAGES, *plugins.filters())
                raise RequestError(
                    f"There is no stage {key}.", received=key, expected=", ".join(known), fix=near_misses(key, known)
                )
            settings, load = config.filter_settings(key), plugins.filter(key).load
            if load is not None:
                complete_options(load, settings.options, name=f"filters.{key}")
    for stage, text in (("caption", config.caption), ("rewrite", config.rewrite)):
        if stage in stages:
            complete_options(plugins.captioner(text.captioner).load, text.options, name=stage)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A data set in the making, and how its stages run.

    Args:
        folder: The data set.
        config: Settings of all stages.
        run: Engine, and what is done again.
    """

    folder: DatasetFolder
    config: PrepareConfig
    run: StageRun

    def run_stage(self, stage: str) -> Path | None:
        """Run one stage that needs no raw videos; the file that it wrote, if it wrote one."""
        if stage == "caption":
            self._write("caption", Caption(config=self.config.caption, **self._common(self.config.caption)))
        elif stage == "rewrite":
            common = self._common(self.config.rewrite)
            del common["dataset"], common["reader"]
            self._write("rewritten", Rewrite(config=self.config.rewrite, compat=self.config.compat, **common))
        elif stage == "export":
            return self.export()
        elif stage == "report":
            return self.report()
        else:
            self.score(stage)
            self.keep(stage)
        return None

    def split(self, input_folder: Path) -> None:
        """Find the raw videos and cut them into clips."""
        sources = find_sources(input_folder, leave_out=self.folder.path)
        if sources.others:
            say(f"left out: {', '.join(f'{count} {suffix}' for suffix, count in sources.others.most_common(8))}")
        work = Split(
            input=input_folder.resolve(),
            dataset=self.folder.path.resolve(),
            config=self.config.split,
            compat=self.config.compat,
        )
        settings = {"input": str(work.input), **asdict(work.config), "compat": work.compat}
        self.folder.settings["input"] = str(work.input)
        split_sources(self.folder, sources.paths, work, self.run, settings=settings, apply_rules=self.apply_rules)

    def score(self, key: str) -> None:
        """Compute the scores of a filter for the clips that are kept so far."""
        spec = load_plugins().filter(key)
        options = self.config.filter_settings(key).options
        if spec.load is None:
            return
        common = self._common(spec)
        if not spec.batched:
            common["batch_size"] = 1
        work = Score(key=key, options=options, compat=self.config.compat, **common)
        settings = {"options": options, "compat": self.config.compat}
        self._fill(key, work, settings, spec.column)

    def keep(self, key: str) -> None:
        """Apply the bounds of a filter, and all rules before it anew.

        Raises:
            MediaError: When no clip is left.
        """
        if key == "duplicates":
            self._add_rule(key, asdict(self.config.duplicates))
            return
        spec = load_plugins().filter(key)
        self._add_rule(key, self._bounds(spec))
        refuse_nothing_left(self.folder.table, key, spec.column)

    def apply_rules(self, *, before: str | None = None) -> None:
        """Decide anew which clips are kept, by all rules or by those of the stages before one."""
        settings = self.folder.settings
        later = set(dropwhile(lambda stage: stage != before, settings["stages"]))
        rules = [_make_rule(rule) for stage, rule in settings["rules"].items() if stage not in later]
        apply_rules(self.folder.table, rules, compat=self.config.compat)

    def export(self) -> Path:
        """List the clips that are kept."""
        path, num, num_untold = export(self.folder.path, self.folder.table, self.config.export)
        untold = f", {num_untold} of them without a caption" if num_untold else ""
        say(f"export: {num} clips{untold}")
        return path

    def report(self) -> Path:
        """Show what came in, what was dropped and why."""
        from easyanimate_data.preparation.report.page import ThresholdLine, write_report

        folder = self.folder
        lines = [
            ThresholdLine(stage, rule["column"], rule["minimum"], rule["maximum"])
            if "column" in rule
            else ThresholdLine(stage, "", reasons=(ALIKE,))
            for stage, rule in folder.settings["rules"].items()
        ]
        return write_report(
            folder.path,
            rows=list(folder.table),
            thresholds=lines,
            timings={
                stage: [(key, outcome.seconds) for key, outcome in folder.journal(stage).read().items()]
                for stage in folder.settings["stages"]
            },
            input_folder=str(folder.settings["input"] or ""),
            date=datetime.now(UTC).date().isoformat(),
        )

    def _write(self, column: str, work: Caption | Rewrite) -> None:
        stage = "caption" if column == "caption" else "rewrite"
        settings = asdict(work.config)
        settings["options"] = {k: v for k, v in settings["options"].items() if k != "api_key"}
        self._fill(stage, work, settings, column)
        self.apply_rules(before=stage)  # what later stages drop is no fault of this one
        refuse_nothing_left(self.folder.table, stage, None)
        self.apply_rules()

    def _fill(self, stage: str, work: Work, settings: dict[str, Any], column: str) -> None:
        """Add columns to the clips that the stages before this one keep."""
        fill_columns(
            self.folder,
            stage,
            work,
            self.run,
            settings=settings,
            column=column,
            before=lambda: self.apply_rules(before=stage),
            after=self.apply_rules,
        )

    def _common(self, what: FilterSpec | TextConfig) -> dict[str, Any]:
        """What all work is given; graphics cards only where the model takes a device."""
        load = load_plugins().captioner(what.captioner).load if isinstance(what, TextConfig) else what.load
        takes_device = load is not None and "device" in signature(load).parameters
        return {
            "dataset": self.folder.path.resolve(),
            "reader": self.config.reader,
            "batch_size": self.config.batch_size,
            "num_gpus": self.config.gpus_per_worker if takes_device else 0.0,
        }

    def _bounds(self, spec: FilterSpec) -> dict[str, Any]:
        bounds: dict[str, Any] = {"column": spec.column, "minimum": spec.minimum, "maximum": spec.maximum}
        return bounds | self.config.filter_settings(spec.key).bounds

    def _add_rule(self, key: str, rule: dict[str, Any]) -> None:
        self.folder.settings["rules"][key] = rule
        self.folder.settings["stages"].setdefault(key, {})  # its place in the order
        self.apply_rules()
        self.folder.save()


def _make_rule(settings: dict[str, Any]) -> Rule:
    return Unalike(**settings) if "distance" in settings else Threshold(**settings)


def prepare(input_folder: Path, preparation: Preparation) -> Path:
    """Run all stages of the settings.

    Returns:
        The file that the last stage wrote, or the table.

    Raises:
        EasyAnimateError: What stops the run; what was finished is kept.
    """
    stages, table = preparation.config.stages, preparation.folder.table
    if stages[0] != "split" and not len(table):
        raise RequestError(
            "There are no clips yet.", received=", ".join(stages), expected="stages that begin with split"
        )
    written: Path | None = None
    settings = preparation.folder.settings
    settings["rules"] = {}  # each stage adds its own
    ordered = [stage for stage in dict.fromkeys((*stages, *settings["stages"])) if stage not in ("export", "report")]
    settings["stages"] = {stage: settings["stages"].get(stage, {}) for stage in ordered}
    preparation.apply_rules()  # saved by the stages: what is refused before the first one changes nothing
    for stage in stages:
        if stage == "split":
            preparation.split(input_folder)
        else:
            written = preparation.run_stage(stage) or written
    preparation.folder.save()
    return written or preparation.folder.table_path
