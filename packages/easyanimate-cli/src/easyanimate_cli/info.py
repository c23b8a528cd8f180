"""`ea info`: how a file was made."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.manifest import read_manifest

from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from easyanimate_core.manifest import Manifest


def info(
    file: Annotated[Path, typer.Argument(help="An mp4 or PNG file as `ea run` wrote it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as JSON.")] = False,
) -> None:
    """Show how a file was made."""
    manifest = read_manifest(file)
    if as_json:
        typer.echo(json.dumps(manifest.to_json(), indent=2, ensure_ascii=False))
        return
    print_table(_rows(manifest))
    typer.echo(f"\nTo make it again: ea rerun {file}")


def _rows(manifest: Manifest) -> list[tuple[str, str]]:
    weights = manifest.weights
    rows = [
        ("made", manifest.created),
        ("model", manifest.model),
        ("weights", f"{weights.name} ({weights.folder})" if weights.folder else weights.name),
        *((name.replace("_", " "), str(value)) for name, value in manifest.request.items() if value not in (None, "")),
    ]
    for item in manifest.inputs:
        weight = f", weight {item.weight}" if item.weight is not None else ""
        rows.append((item.role, f"{item.path}{weight} (SHA-256 {item.sha256[:16]})"))
    rows += [
        ("ran on", f"{manifest.device}, {manifest.dtype}"),
        ("seconds", ", ".join(f"{phase} {spent:.1f}" for phase, spent in manifest.timings.items())),
        ("packages", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())),
    ]
    return rows
