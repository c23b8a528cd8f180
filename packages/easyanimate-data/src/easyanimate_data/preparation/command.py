"""The commands of data preparation: `ea data prepare`, and one for each of its stages."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.number_range import Range
from easyanimate_core.options import SettingsReader
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.engine import Engine, EngineName
from easyanimate_data.preparation.folder import clear, has_run, list_journals, open_folder, refuse_foreign
from easyanimate_data.preparation.run import StageRunner, check_needs, check_stages
from easyanimate_data.preparation.settings import read_settings
from easyanimate_data.preparation.stage import find_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

VIDEOS = (Annotated[Path, typer.Argument(metavar="VIDEOS", help="Folder with raw videos; it is only read.")], ...)
DATASET = (
    Annotated[Path, typer.Argument(metavar="DATASET", help="Folder that `ea data split` or `prepare` wrote.")],
    ...,
)
OUT = (Annotated[Path, typer.Option("--out", help="Folder of the data set.")], ...)
FILTERS = (Annotated[str, typer.Option("--filters", help="Keys of filters, such as motion,text,duplicates.")], ...)


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """Options of every command that runs stages.

    Args:
        config: YAML file of settings.
        set: Sets one setting, such as split.min_seconds=2 (repeatable).
        compat: Gives the original's numbers where they differ from what is right.
    """

    config: Path | None = None
    set: tuple[str, ...] = ()
    compat: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkOptions(StageOptions):
    """Options of commands that compute something.

    Args:
        engine: Runs the work in this process, in worker processes, or on Ray.
        workers: Number of workers, one per core unless given.
        ray_address: Address of a running Ray cluster, such as auto.
        replace: Does again what an earlier run did.
        retry_errors: Does again what ended with an error.
    """

    engine: EngineName = "local"
    workers: Annotated[int | None, Range(1, 1024)] = None
    ray_address: str | None = None
    replace: bool = False
    retry_errors: bool = False


@dataclass(frozen=True, kw_only=True)
class BoundOptions:
    """Bounds of scores.

    Args:
        min: Least score that a filter keeps, such as motion=2 (repeatable).
        max: Greatest score that a filter keeps, such as text=0.02 (repeatable).
    """

    min: tuple[str, ...] = ()
    max: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SplitOptions(WorkOptions):
    """Options of commands that begin with raw videos.

    Args:
        resume: Goes on with what an earlier run left.
    """

    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(SplitOptions, BoundOptions):
    """Options of `ea data prepare`.

    Args:
        stages: Stages in their order, such as split,motion,duplicates,export.
    """

    stages: str | None = None


@dataclass(frozen=True, kw_only=True)
class FilterOptions(StageOptions, BoundOptions):
    """Options of `ea data filter`."""


@dataclass(frozen=True, kw_only=True)
class AlignOptions(WorkOptions, BoundOptions):
    """Options of `ea data align`."""


@dataclass(frozen=True, kw_only=True)
class TextOptions(WorkOptions):
    """Options of commands that write text.

    Args:
        captioner: Writes with this captioner: transformers, openai, or one of a plugin.
        model: Id or folder of the model.
        server: Address of a server that speaks OpenAI's protocol.
    """

    captioner: str | None = None
    model: str | None = None
    server: str | None = None

    def to_words(self, stage: str) -> list[str]:
        """These options as settings of a stage; a server means the captioner that asks one."""
        captioner = "openai" if self.captioner is None and self.server is not None else self.captioner
        named = {"captioner": captioner, "options.model": self.model, "options.base_url": self.server}
        return [f"{stage}.{name}={json.dumps(value)}" for name, value in named.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions(StageOptions):
    """Options of `ea data export`.

    Args:
        format: Writes a JSON, which EasyAnimate trains on, or a CSV table.
        absolute: Writes absolute paths, not paths relative to the data set.
    """

    format: Literal["json", "csv"] = "json"
    absolute: bool = False


def _command(options: type[Any], **arguments: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function that takes options and arguments."""
    return lambda run: SettingsReader(options).command(run, arguments)


@_command(PrepareOptions, videos=VIDEOS, out=OUT)
def prepare_dataset(options: PrepareOptions, *, videos: Path, out: Path) -> None:
    """Split raw videos, score, filter and caption the clips, and list them for training."""
    stages = [] if options.stages is None else [_choose_stages(options.stages)]
    with _begin(out, options, videos, [*stages, *_set_bounds(options)]) as runner:
        typer.echo(runner.run_all())


@_command(SplitOptions, videos=VIDEOS, out=OUT)
def split(options: SplitOptions, *, videos: Path, out: Path) -> None:
    """Cut raw videos into clips of one scene each, and start the table of clips."""
    with _begin(out, options, videos, [_choose_stages("split")]) as runner:
        runner.run("split")
        typer.echo(runner.folder.table_path)


@_command(WorkOptions, dataset=DATASET, filters=FILTERS)
def score(options: WorkOptions, *, dataset: Path, filters: str) -> None:
    """Compute scores of the clips that are kept so far; none is dropped."""
    with _open(dataset, options, [_choose_stages(filters)]) as runner:
        for key in _check_filters(runner.settings.stages):
            runner.fill(key)
        typer.echo(runner.folder.table_path)


@_command(FilterOptions, dataset=DATASET, filters=FILTERS)
def filter_clips(options: FilterOptions, *, dataset: Path, filters: str) -> None:
    """Drop clips whose scores are out of bounds; scores stay, so that other bounds can be tried."""
    with _open(dataset, options, [_choose_stages(filters), *_set_bounds(options)]) as runner:
        for key in _check_filters(runner.settings.stages):
            runner.drop(key)
        table = runner.folder.table
        typer.echo(f"{len(table.find_kept())} of {len(table)} rows are kept: {runner.folder.table_path}")


@_command(TextOptions, dataset=DATASET)
def caption(options: TextOptions, *, dataset: Path) -> None:
    """Write captions of the clips that are kept so far."""
    _run_alone("caption", dataset, options, options.to_words("caption"))


@_command(TextOptions, dataset=DATASET)
def rewrite(options: TextOptions, *, dataset: Path) -> None:
    """Let a language model rewrite the captions as prompts."""
    _run_alone("rewrite", dataset, options, options.to_words("rewrite"))


@_command(AlignOptions, dataset=DATASET)
def align(options: AlignOptions, *, dataset: Path) -> None:
    """Score how well captions fit their clips, and drop those that do not."""
    _run_alone("align", dataset, options, _set_bounds(options))


@_command(ExportOptions, dataset=DATASET)
def export(options: ExportOptions, *, dataset: Path) -> None:
    """List the clips that are kept, for training."""
    words = [f"export.format={options.format}", f"export.paths={'absolute' if options.absolute else 'relative'}"]
    _run_alone("export", dataset, options, words)


@_command(StageOptions, dataset=DATASET)
def report(options: StageOptions, *, dataset: Path) -> None:
    """Write one HTML file that shows what came in, what was dropped and why."""
    _run_alone("report", dataset, options)


def list_filters() -> None:
    """List the filters, the other stages and the captioners that are installed, and the scores that are kept."""
    plugins = load_plugins()
    for spec in plugins.filters().values():
        bounds = (("at least", spec.minimum), ("at most", spec.maximum))
        kept = ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        typer.echo(f"{spec.key:<16}{spec.summary}{f' Kept: {kept}.' if kept else ''}")
    for other in (*plugins.stages().values(), *plugins.captioners().values()):
        typer.echo(f"{other.key:<16}{other.summary}")


@contextmanager
def _begin(out: Path, options: SplitOptions, videos: Path, words: Sequence[str]) -> Generator[StageRunner]:
    """Open a folder that is new, or whose run is to be continued or replaced."""
    make = _check_options(options, words)
    if options.resume and options.replace:
        raise RequestError("--resume and --replace exclude each other.", expected="one of them")
    refuse_foreign(out)
    if has_run(out) and not (options.resume or options.replace):
        raise MediaError(
            "The folder holds an earlier run.",
            received=out,
            expected="a new or empty folder",
            fix="add --resume to continue it, --replace to start anew, or choose another with --out",
        )
    if options.resume and not has_run(out):
        raise MediaError("There is nothing to resume.", received=out, fix="drop --resume")
    check_needs(make.keywords["settings"], out, videos, done=list_journals(out) if options.resume else ())
    with open_folder(out) as folder, PhaseDisplay() as display:
        if options.replace:
            clear(out)
            folder.reload()
        yield make(folder=folder, input_folder=videos, on_progress=display.show)


@contextmanager
def _open(dataset: Path, options: StageOptions, words: Sequence[str]) -> Generator[StageRunner]:
    """Open a data set that must be there."""
    if not has_run(dataset):
        raise MediaError(
            "There is no data set.",
            received=dataset,
            expected="a folder with clips.parquet",
            fix=f"ea data split VIDEOS --out {dataset}",
        )
    make = _check_options(options, words)
    if isinstance(options, WorkOptions):
        check_needs(make.keywords["settings"], dataset)
    replaces = isinstance(options, WorkOptions) and options.replace
    with open_folder(dataset) as folder, PhaseDisplay() as display:
        yield make(folder=folder, replace=replaces, on_progress=display.show)


def _run_alone(stage: str, dataset: Path, options: StageOptions, words: Sequence[str] = ()) -> None:
    """Run one stage of a data set that is there."""
    with _open(dataset, options, [_choose_stages(stage), *words]) as runner:
        typer.echo(runner.run(stage) or runner.folder.table_path)


def _check_options(options: StageOptions, words: Sequence[str]) -> partial[StageRunner]:
    """Check all options and settings before anything is read or written; what is left to give is the folder."""
    compat = ["compat=true"] if options.compat else []
    settings = read_settings(options.config, [*words, *compat, *options.set])
    check_stages(settings)
    if not isinstance(options, WorkOptions):
        return partial(StageRunner, settings=settings)
    engine = Engine(name=options.engine, workers=options.workers, ray_address=options.ray_address)
    engine.check()
    return partial(StageRunner, settings=settings, engine=engine, retry_errors=options.retry_errors)


def _choose_stages(keys: str) -> str:
    """The setting that a list of stages with commas stands for."""
    return f"stages={json.dumps([key.strip() for key in keys.split(',') if key.strip()])}"


def _set_bounds(options: BoundOptions) -> list[str]:
    """The settings that bounds such as motion=2 stand for."""
    words: list[str] = []
    for name, bounds in (("minimum", options.min), ("maximum", options.max)):
        for bound in bounds:
            key, sign, value = bound.partition("=")
            if not sign:
                raise RequestError("A bound must be FILTER=NUMBER.", received=bound, expected="such as motion=2")
            words.append(f"filters.{key}.{name}={value}")
    return words


def _check_filters(keys: Sequence[str]) -> Sequence[str]:
    """Refuse stages that drop no clips."""
    for key in keys:
        if find_stage(key).rule is None:
            raise RequestError(f"The stage {key} is no filter.", received=key, fix="see what there is: ea data filters")
    return keys
