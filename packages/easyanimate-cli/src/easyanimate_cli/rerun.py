"""`ea rerun`: makes a file again from its manifest, and says whether the result is the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.clip import ClipPlan
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import EasyAnimateError, WeightsError
from easyanimate_core.manifest import Manifest, WeightsRecord, package_versions, read_manifest
from easyanimate_core.model import open_model
from easyanimate_core.request import OLDER_MEANING, VideoRequest
from easyanimate_core.source import ROLES, read_sources
from easyanimate_core.spec import LoraFile
from easyanimate_core.video import read_image, read_video

from easyanimate_cli.output import free_path
from easyanimate_cli.run import make_clips

if TYPE_CHECKING:
    from easyanimate_core.weights import FoundWeights


def rerun(
    file: Annotated[Path, typer.Argument(help="An mp4 or PNG file as `ea run` wrote it.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="FILE-rerun beside FILE")
    ] = None,
) -> None:
    """Make a file again, bit for bit: the same request, weights and input files."""
    manifest = read_manifest(file)
    request = _read_request(manifest)
    of_clip = tuple(item for item in manifest.inputs if item.role in ROLES.values())
    others = [item for item in manifest.inputs if item not in of_clip and item.role != "lora"]
    parts: dict[str, Any] = {item.role.replace("-", "_"): item.check() for item in others}
    with PhaseDisplay() as display:
        model = open_model(
            manifest.model,
            weights=_find_weights(manifest.weights),
            dtype=manifest.dtype,
            device=manifest.device,
            loras=[
                LoraFile(item.check(), 1.0 if item.weight is None else item.weight) for item in manifest.files("lora")
            ],
            **parts,
        )
        _check_weights(model.weights, manifest.weights)
        model.check(request)
        target = output or file.parent
        if target.is_dir():
            target /= f"{file.stem}-rerun"
        made = free_path(target.with_name(target.name.removesuffix(file.suffix) + file.suffix))
        for line in _differences(manifest):
            typer.echo(line, err=True)
        make_clips(model, {made: ClipPlan(request, of_clip)}, display)
    same = _read_frames(made) == _read_frames(file)
    typer.echo("Identical to the first file." if same else f"The frames differ from those of {file}.", err=True)
    if not same:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Frames:
    """What two files are compared by."""

    shape: tuple[int, ...]
    content: bytes


def _read_frames(path: Path) -> _Frames:
    frames: Any = read_image(path) if path.suffix == ".png" else read_video(path).frames
    return _Frames(tuple(frames.shape), frames.tobytes())


def _find_weights(record: WeightsRecord) -> str:
    """What to give as `--weights`: the folder of the first run while it is there, else the name."""
    if record.folder is None:
        return "auto"
    return record.folder if Path(record.folder).is_dir() else record.name


def _check_weights(found: FoundWeights, record: WeightsRecord) -> None:
    hashes = dict(found.folder.hashes) if found.folder else {}
    changed = sorted(name for name in {*hashes, *record.hashes} if hashes.get(name) != record.hashes.get(name))
    if changed:
        raise WeightsError(
            "The weights are not those of the first run.",
            received=f"{found.folder}: {', '.join(changed[:5])}{' and others' if len(changed) > 5 else ''} differ",  # noqa: PLR2004
            expected=f"the weights {record.name} with the hashes that `ea info FILE --json` shows",
            fix="put the old weights back, or make a new file with ea run",
        )


def _read_request(manifest: Manifest) -> VideoRequest:
    values: dict[str, Any] = {**OLDER_MEANING, **manifest.request}
    try:
        return VideoRequest(**values, **read_sources(manifest.inputs, values))
    except (TypeError, KeyError) as error:
        raise EasyAnimateError(
            "The request of this file is of another version.",
            received=", ".join(values),
            fix=f"install easyanimate-core {manifest.packages.get('easyanimate-core')}, which made it",
        ) from error


def _differences(manifest: Manifest) -> list[str]:
    """Versions that have changed since the first run: the result may differ in its last bits."""
    now = package_versions()
    changed = [
        f"{name} was {then}, is {now.get(name, 'not installed')}"
        for name, then in manifest.packages.items()
        if now.get(name) != then
    ]
    return [f"Other versions than at the first run: {', '.join(changed)}."] if changed else []
