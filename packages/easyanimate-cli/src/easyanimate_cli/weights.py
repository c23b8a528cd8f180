"""`ea weights`: which there are, how to get them, whether they are whole."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.download import hub_source, local_folder, models_home, pull, unpack_archive
from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.integrity import verify
from easyanimate_core.machine import format_bytes
from easyanimate_core.registry import load_plugins
from easyanimate_core.weights import check_weights, find_weights
from easyanimate_core.weights_folder import WeightsFolder

from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from easyanimate_core.registry import Plugins
    from easyanimate_core.spec import WeightsSource

MODEL = typer.Argument(help="Key of the model; `ea models` lists them.")


def list_weights() -> None:
    """List the weights of all models and where they are."""
    plugins = load_plugins()
    rows: list[tuple[str, ...]] = []
    for key in plugins.models():
        for source in plugins.weights(key).values():
            size = format_bytes(source.size_bytes) if source.size_bytes else ""
            rows.append((key, source.name, source.summary, source.licence, size, _state(plugins, source)))
    if rows:
        print_table(rows, header=("MODEL", "NAME", "SUMMARY", "LICENCE", "SIZE", "STATE"))
        typer.echo(f"\nDownloads go to {models_home()} (EA_HOME changes it); ./models comes first.", err=True)
    else:
        typer.echo("No installed plugin offers weights. Small ones to start with: pip install easyanimate-demo")


def pull_weights(
    model: Annotated[str, MODEL],
    name: Annotated[str, typer.Argument(help="Name in `ea weights list`, or a Hugging Face repository.")] = "official",
    *,
    archive: Annotated[
        Path | None, typer.Option("--from", help="Unpack this .tar or .tar.gz instead of downloading.")
    ] = None,
) -> None:
    """Fetch weights from Hugging Face or from an archive; goes on where an earlier download stopped."""
    plugins = load_plugins()
    spec = plugins.model(model)
    source = _find_source(plugins, model, name)
    folder = local_folder(source)
    rows = [("weights", f"{source.name} of {model}: {source.summary}"), ("licence", source.licence)]
    rows += [("size", format_bytes(source.size_bytes))] if source.size_bytes else []
    rows += [("from", str(archive or source.hub_id or "shipped with its plugin")), ("to", str(folder))]
    print_table(rows, error=True)
    with PhaseDisplay(bytes_unit=True) as display:
        if archive is not None:
            models = plugins.models().values()
            unpack_archive(
                archive, folder, display.show, check=lambda path: check_weights(WeightsFolder(path), spec, models)
            )
        else:
            folder = pull(source, on_progress=display.show)
    found = find_weights(str(folder), spec, plugins)
    typer.echo(f"The weights are whole. To use them: ea run --model {model} --weights {name}", err=True)
    typer.echo(found.folder)


def verify_weights(
    model: Annotated[str, MODEL],
    weights: Annotated[
        str, typer.Argument(help="A name, a folder or a repository, as `ea run --weights` takes.")
    ] = "auto",
) -> None:
    """Read every byte of the weights and compare it with what is known about them."""
    plugins = load_plugins()
    spec = plugins.model(model)
    found = find_weights(weights, spec, plugins)
    if found.folder is None:
        typer.echo(f"The model {model} needs no weights.")
        return
    with PhaseDisplay(bytes_unit=True) as display:
        checks = verify(found.folder.path, display.show)
    rows = [
        (check.name, format_bytes(check.size_bytes), check.sha256[:16], "confirmed" if check.confirmed else "whole")
        for check in checks
    ]
    print_table(rows, header=("FILE", "SIZE", "SHA-256", "STATE"))
    typer.echo(f"\nThe weights {found.name} of {model} are whole: {found.folder}")


def _state(plugins: Plugins, source: WeightsSource) -> str:
    try:
        found = find_weights(source.name, plugins.model(source.model), plugins)
    except WeightsError as error:
        if local_folder(source).is_dir():
            return f"damaged: {error.message}; {error.fix or ''}"
        return error.fix or "not here"
    return f"in {found.folder}"


def _find_source(plugins: Plugins, model: str, name: str) -> WeightsSource:
    sources = plugins.weights(model)
    if name in sources:
        return sources[name]
    by_hub_id = {source.hub_id: source for source in sources.values()}
    if "/" in name:
        return by_hub_id.get(name) or hub_source(model, name)
    raise WeightsError(
        f"The model {model} has no weights {name}.",
        received=name,
        expected=", ".join([*sources, "a Hugging Face repository"]),
        fix=near_misses(name, sources),
    )
