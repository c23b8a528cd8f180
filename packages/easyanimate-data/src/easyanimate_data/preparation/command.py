"""The commands of data preparation: `ea data prepare`, and one for each of its stages."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from easyanimate_core.config import read_config
from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.config import PrepareConfig
from easyanimate_data.preparation.engine import Engine, EngineName
from easyanimate_data.preparation.folder import clear, has_run, open_folder, refuse_foreign
from easyanimate_data.preparation.run import Preparation, check_stages, prepare
from easyanimate_data.preparation.stage import StageRun

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

RawFolder = Annotated[Path, typer.Argument(metavar="VIDEOS", help="Folder with raw videos; it is only read.")]
Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder that `ea data split` or `prepare` wrote.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the data set.")]
Stages = Annotated[str | None, typer.Option("--stages", help="In order, such as split,motion,duplicates,export.")]
Filters = Annotated[str, typer.Option("--filters", help="Keys of filters, such as motion,text,duplicates.")]
EngineOption = Annotated[EngineName, typer.Option("--engine", help="This process, worker processes, or Ray.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="How many; one per core unless given.")]
RayAddress = Annotated[str | None, typer.Option("--ray-address", help="Of a running Ray cluster, such as auto.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what an earlier run left.")]
Replace = Annotated[bool, typer.Option("--replace", help="Do it all again.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Do again what ended with an error.")]
Compat = Annotated[bool, typer.Option("--compat", help="The original's numbers where they differ.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, such as split.min_seconds=2.")]
Minimum = Annotated[list[str] | None, typer.Option("--min", help="Least score that is kept, such as motion=2.")]
Maximum = Annotated[list[str] | None, typer.Option("--max", help="Most score that is kept, such as text=0.02.")]


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What the options of a command say."""

    config: PrepareConfig
    run: StageRun


def _take(  # noqa: PLR0913 (each is an option)
    *,
    stages: str | None = None,
    engine: Engine | None = None,
    config: Path | None = None,
    settings: Sequence[str] | None = None,
    minimum: Sequence[str] | None = None,
    maximum: Sequence[str] | None = None,
    compat: bool = False,
    replace: bool = False,
    retry_errors: bool = False,
) -> _Given:
    """Check the options before anything is read or written."""
    words: list[str] = []
    if stages is not None:
        words.append(f"stages=[{', '.join(stage.strip() for stage in stages.split(',') if stage.strip())}]")
    if compat:
        words.append("compat=true")
    for name, bounds in (("minimum", minimum), ("maximum", maximum)):
        for bound in bounds or ():
            key, sign, value = bound.partition("=")
            if not sign:
                raise RequestError("A bound has no value.", received=bound, expected="FILTER=NUMBER, such as motion=2")
            words.append(f"filters.{key}.{name}={value}")
    read = read_config(PrepareConfig, config, [*words, *(settings or ())])
    check_stages(read.stages, read)
    return _Given(config=read, run=StageRun(engine=engine or Engine(), retry_errors=retry_errors, replace=replace))


@contextmanager
def _open_dataset(path: Path, given: _Given) -> Generator[Preparation]:
    """Open a data set that must be there."""
    if not has_run(path):
        raise MediaError(
            "There is no data set.",
            received=path,
            expected="a folder with clips.parquet",
            fix=f"ea data split VIDEOS --out {path}",
        )
    with open_folder(path) as folder:
        yield Preparation(folder=folder, config=given.config, run=given.run)


def _claim(out: Path, *, resume: bool, replace: bool) -> None:
    """Refuse a folder with a run in it, unless it is to be continued or replaced."""
    if resume and replace:
        raise RequestError("A run goes on or starts anew.", received="--resume and --replace", expected="one of them")
    refuse_foreign(out)
    if has_run(out) and not (resume or replace):
        raise MediaError(
            "The folder holds an earlier run.",
            received=out,
            expected="a new or empty folder",
            fix="add --resume to continue it, --replace to start anew, or choose another with --out",
        )
    if resume and not has_run(out):
        raise MediaError("There is nothing to resume.", received=out, fix="drop --resume")


def prepare_dataset(  # noqa: PLR0913 (each is an option)
    videos: RawFolder,
    *,
    out: Out,
    stages: Stages = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    ray_address: RayAddress = None,
    resume: Resume = False,
    replace: Replace = False,
    retry_errors: RetryErrors = False,
    compat: Compat = False,
    minimum: Minimum = None,
    maximum: Maximum = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Split raw videos, score, filter and caption the clips, and list them for training."""
    given = _take(
        stages=stages,
        engine=Engine(name=engine, workers=workers, ray_address=ray_address),
        config=config,
        settings=settings,
        minimum=minimum,
        maximum=maximum,
        compat=compat,
        retry_errors=retry_errors,
    )
    _claim(out, resume=resume, replace=replace)
    with open_folder(out) as folder:
        if replace:
            clear(out)
            folder.reload()
        typer.echo(prepare(videos, Preparation(folder=folder, config=given.config, run=given.run)))


def split(  # noqa: PLR0913 (each is an option)
    videos: RawFolder,
    *,
    out: Out,
    engine: EngineOption = "local",
    workers: Workers = None,
    ray_address: RayAddress = None,
    resume: Resume = False,
    replace: Replace = False,
    retry_errors: RetryErrors = False,
    compat: Compat = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Cut raw videos into clips of one scene each, and start the table of clips."""
    given = _take(
        engine=Engine(name=engine, workers=workers, ray_address=ray_address),
        config=config,
        settings=settings,
        compat=compat,
        retry_errors=retry_errors,
    )
    _claim(out, resume=resume, replace=replace)
    with open_folder(out) as folder:
        if replace:
            clear(out)
            folder.reload()
        Preparation(folder=folder, config=given.config, run=given.run).split(videos)
        typer.echo(folder.table_path)


def score(  # noqa: PLR0913 (each is an option)
    dataset: Dataset,
    *,
    filters: Filters,
    engine: EngineOption = "local",
    workers: Workers = None,
    ray_address: RayAddress = None,
    replace: Replace = False,
    retry_errors: RetryErrors = False,
    compat: Compat = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Compute scores of the clips that are kept so far; none is dropped."""
    given = _take(
        stages=filters,
        engine=Engine(name=engine, workers=workers, ray_address=ray_address),
        config=config,
        settings=settings,
        compat=compat,
        replace=replace,
        retry_errors=retry_errors,
    )
    with _open_dataset(dataset, given) as preparation:
        for key in given.config.stages:
            preparation.score(key)
        typer.echo(preparation.folder.table_path)


def filter_clips(  # noqa: PLR0913 (each is an option)
    dataset: Dataset,
    *,
    filters: Filters,
    minimum: Minimum = None,
    maximum: Maximum = None,
    compat: Compat = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Drop clips whose scores are out of bounds; scores stay, so that other bounds can be tried."""
    given = _take(stages=filters, config=config, settings=settings, minimum=minimum, maximum=maximum, compat=compat)
    with _open_dataset(dataset, given) as preparation:
        for key in given.config.stages:
            preparation.keep(key)
        kept, total = len(preparation.folder.table.find_kept()), len(preparation.folder.table)
        typer.echo(f"{kept} of {total} rows are kept: {preparation.folder.table_path}")


def _run_alone(dataset: Path, stage: str, given: _Given) -> None:
    """One stage of a data set that is there."""
    with _open_dataset(dataset, given) as preparation:
        typer.echo(preparation.run_stage(stage) or preparation.folder.table_path)


def _write_with(stage: str, about: str) -> Callable[..., None]:
    """The command of a stage that writes text: captions and rewritten captions have the same options."""

    def write(  # noqa: PLR0913 (each is an option)
        dataset: Dataset,
        *,
        captioner: Annotated[
            str | None, typer.Option("--captioner", help="transformers, openai, or a plugin's.")
        ] = None,
        model: Annotated[str | None, typer.Option("--model", help="Id or folder of the model.")] = None,
        server: Annotated[str | None, typer.Option("--server", help="Address of an OpenAI-compatible server.")] = None,
        engine: EngineOption = "local",
        workers: Workers = None,
        ray_address: RayAddress = None,
        replace: Replace = False,
        retry_errors: RetryErrors = False,
        compat: Compat = False,
        config: ConfigFile = None,
        settings: Settings = None,
    ) -> None:
        given = _take(
            engine=Engine(name=engine, workers=workers, ray_address=ray_address),
            config=config,
            settings=[*_model_words(stage, captioner, model, server), *(settings or ())],
            compat=compat,
            replace=replace,
            retry_errors=retry_errors,
        )
        _run_alone(dataset, stage, given)

    write.__doc__ = about
    return write


caption = _write_with("caption", "Write captions of the clips that are kept so far.")
rewrite = _write_with("rewrite", "Let a language model rewrite the captions as prompts.")


def align(  # noqa: PLR0913 (each is an option)
    dataset: Dataset,
    *,
    engine: EngineOption = "local",
    workers: Workers = None,
    ray_address: RayAddress = None,
    minimum: Minimum = None,
    replace: Replace = False,
    retry_errors: RetryErrors = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Score how well captions fit their clips, and drop those that do not."""
    given = _take(
        engine=Engine(name=engine, workers=workers, ray_address=ray_address),
        config=config,
        settings=settings,
        minimum=minimum,
        replace=replace,
        retry_errors=retry_errors,
    )
    _run_alone(dataset, "align", given)


def export(
    dataset: Dataset,
    *,
    form: Annotated[
        Literal["json", "csv"], typer.Option("--format", help="As EasyAnimate trains on, or a table.")
    ] = "json",
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Absolute paths; relative to the data set's otherwise.")
    ] = False,
) -> None:
    """List the clips that are kept, for training."""
    words = [f"export.format={form}", f"export.paths={'absolute' if absolute else 'relative'}"]
    _run_alone(dataset, "export", _take(settings=words))


def report(dataset: Dataset) -> None:
    """Write one HTML file that shows what came in, what was dropped and why."""
    _run_alone(dataset, "report", _take())


def list_filters() -> None:
    """List the filters and the captioners that are installed, and what is kept unless you say otherwise."""
    plugins = load_plugins()
    for spec in plugins.filters().values():
        bounds = (("at least", spec.minimum), ("at most", spec.maximum))
        kept = ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        typer.echo(f"{spec.key:<16}{spec.summary}{f' Kept: {kept}.' if kept else ''}")
    for captioner in plugins.captioners().values():
        typer.echo(f"{captioner.key:<16}{captioner.summary}")


def _model_words(stage: str, captioner: str | None, model: str | None, server: str | None) -> list[str]:
    """The options of a writing stage as settings; a server means the captioner that asks one."""
    if captioner is None and server is not None:
        captioner = "openai"
    words = [("captioner", captioner), ("options.model", model), ("options.base_url", server)]
    return [f"{stage}.{name}={value}" for name, value in words if value is not None]
