"""`ea info`: how a file was made."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.manifest import portable_path, read_manifest
from easyanimate_core.printable import printable

from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from easyanimate_core.manifest import Manifest


def info(
    file: Annotated[Path, typer.Argument(help="A file as `ea run` wrote it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as JSON.")] = False,
) -> None:
    """Show how a file was made."""
    manifest = read_manifest(file)
    if as_json:
        text = json.dumps(manifest.to_json(file.parent), indent=2, ensure_ascii=False)
        typer.echo(_STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text))
        return
    print_table(_rows(manifest, file.parent))
    typer.echo(f"\nTo make it again: ea rerun {printable(shlex.quote(str(file)))}")


_STEERING = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What `json` writes as it is, and a terminal or an editor might take for more than text."""


def _rows(manifest: Manifest, folder: Path) -> list[tuple[str, str]]:
    weights = manifest.weights
    place = portable_path(weights.folder, folder)
    rows = [
        ("made", manifest.created),
        ("model", manifest.model),
        ("weights", f"{weights.name} ({place})" if place else weights.name),
        *((name.replace("_", " "), str(value)) for name, value in manifest.request.items() if value not in (None, "")),
    ]
    for item in manifest.inputs:
        weight = f", weight {item.weight}" if item.weight is not None else ""
        rows.append((item.role, f"{portable_path(item.path, folder)}{weight} (SHA-256 {item.sha256[:16]})"))
    rows += [
        ("ran on", f"{manifest.device}, {manifest.dtype}"),
        ("seconds", ", ".join(f"{phase} {spent:.1f}" for phase, spent in manifest.timings.items())),
        ("packages", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())),
    ]
    return rows
