"""`ea rerun`: makes a file again from its manifest, the same to the last bit or with changes, and says which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.animation import MAX_FPS, read_frames
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import RequestError, WeightsError, near_misses
from easyanimate_core.image import read_image
from easyanimate_core.integrity import hash_file
from easyanimate_core.machine import count_processors
from easyanimate_core.manifest import Manifest, WeightsRecord, package_versions, read_manifest
from easyanimate_core.model import open_model
from easyanimate_core.options import option, with_options
from easyanimate_core.request import OLDER_MEANING, VideoRequest
from easyanimate_core.source import ROLES
from easyanimate_core.spec import LoraFile
from easyanimate_core.thread import set_threads
from easyanimate_core.video import read_video
from easyanimate_core.weights_folder import SETTINGS_FILE

from easyanimate_cli.options import list_options, make_clip, merge, read_options
from easyanimate_cli.output import is_folder
from easyanimate_cli.run import DEVICE, DTYPE, OVERWRITE, WEIGHTS, make_clips, plan_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from easyanimate_core.weights import FoundWeights

_FILE = Annotated[Path, typer.Argument(help="A file as `ea run` wrote it.")]
_INPUTS = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="ROLE=PATH",
        help="Where an input is now, or another one in its place: image, end-image, video, mask, lora, transformer, "
        "... as `ea info` names them. Several of one role are given in order.",
    ),
]


def make_rerun() -> Callable[..., None]:
    """`ea rerun`, with the options of a clip that `ea run` has."""
    clip_options = list_options()

    def rerun(**options: Any) -> None:
        """Make a file again: bit for bit, or with what the options change.

        What is not given stays as it was, the seed too. Inputs and weights have to be the same, unless options name
        others. The path of every file goes to standard output, all else to standard error. Exit code 1: nothing was
        changed, and yet the frames differ.
        """
        given = read_options({name: options[setting.name] for name, setting in clip_options.items()})
        file: Path = options["file"]
        rerun = _Rerun(file, read_manifest(file), given, _read_inputs(options["input"] or ()))
        with PhaseDisplay() as display:
            made = rerun.make(display, options)
        rerun.compare(made)

    settings = [
        replace(setting, default=None, summary=_OUTPUT if name == "output" else setting.summary)
        for name, setting in clip_options.items()
    ]
    return with_options(
        rerun,
        [
            option("file", _FILE, ...),
            *(setting.parameter() for setting in settings),
            option("input", _INPUTS),
            option("overwrite", OVERWRITE, default=False),
            option("weights", WEIGHTS),
            option("dtype", DTYPE),
            option("device", DEVICE),
        ],
    )


_OUTPUT = "File to write, or a folder, which ends in a slash (FILE-rerun beside FILE unless given)."


def _read_inputs(words: Sequence[str]) -> dict[str, list[Path]]:
    """Paths by role."""
    found: dict[str, list[Path]] = {}
    for word in words:
        role, sign, path = word.partition("=")
        if not sign or not role or not path:
            raise RequestError("An input is a role and a path.", received=word, expected="ROLE=PATH")
        found.setdefault(role.replace("_", "-"), []).append(Path(path))
    return found


@dataclass
class _Rerun:
    """A file that is made again.

    Args:
        file: The file.
        manifest: What it says of itself.
        given: Values of options, by the names of `list_options`.
        moved: Where inputs are, by role.
    """

    file: Path
    manifest: Manifest
    given: Mapping[str, Any]
    moved: Mapping[str, Sequence[Path]]

    def __post_init__(self) -> None:
        """Find the inputs, and refuse roles that the run had not."""
        self.changes: list[str] = []
        """What differs from the first run, in words."""
        have = [item.role for item in self.manifest.inputs]
        for role, paths in self.moved.items():
            if len(paths) > have.count(role):
                raise RequestError(
                    f"The first run had {have.count(role) or 'no'} input {role}.",
                    received=f"{len(paths)} of --input {role}=PATH",
                    expected=", ".join(dict.fromkeys(have)) or "no --input",
                    fix=near_misses(role, have),
                )

    def make(self, display: PhaseDisplay, options: Mapping[str, Any]) -> list[Path]:
        """Plan and make it; the files that were written."""
        manifest = self.manifest
        parts = [item.role for item in manifest.inputs if item.role not in (*ROLES.values(), "lora")]
        files: dict[str, Any] = {role.replace("-", "_"): self._find(role)[0] for role in parts}
        weights = [item.weight for item in manifest.files("lora")]
        loras = [
            LoraFile(path, 1.0 if weight is None else weight)
            for path, weight in zip(self._find("lora"), weights, strict=True)
        ]
        if manifest.threads is not None:
            set_threads(min(manifest.threads, count_processors()))
        model = open_model(
            manifest.model,
            weights=options["weights"] or _find_weights(manifest.weights),
            dtype=options["dtype"] or manifest.dtype,
            device=options["device"] or manifest.device,
            loras=loras,
            **files,
        )
        for name, then in (("dtype", manifest.dtype), ("device", manifest.device)):
            if options[name] not in (None, then):
                self.changes.append(f"{name} {then} -> {options[name]}")
        self._compare_weights(model.weights, is_chosen=options["weights"] is not None)
        if options["weights"] is None:  # found by their folder, known by their name
            model = replace(model, weights=replace(model.weights, name=manifest.weights.name))
        values = merge(self._base(), self.given)
        output = self._choose_target(self.given.get("output"), is_image=values.get("num_frames") == 1)
        plans = plan_clips(model, [make_clip({**values, "output": output})])
        for line in _differences(manifest):
            typer.echo(line, err=True)
        if self.changes:
            typer.echo(f"Changed: {', '.join(self.changes)}.", err=True)
        return make_clips(model, plans, display, overwrite=options["overwrite"])

    def compare(self, made: Sequence[Path]) -> None:
        """Say whether the frames are those of the first file, where nothing was changed."""
        if self.changes:
            return
        same = _read_frames(made[0]) == _read_frames(self.file)
        typer.echo(
            "Identical to the first file." if same else f"The frames differ from those of {self.file}.", err=True
        )
        if not same:
            raise typer.Exit(1)

    def _base(self) -> dict[str, Any]:
        """The settings of the first run, with its inputs, as far as no option replaces them."""
        known = {*_FIELDS, *ROLES}
        unknown = [name for name in self.manifest.request if name not in known]
        if unknown:
            raise RequestError(
                "The request of this file is of another version.",
                received=", ".join(unknown),
                fix=f"install easyanimate-core {self.manifest.packages.get('easyanimate-core')}, which made it",
            )
        base: dict[str, Any] = {**OLDER_MEANING, **self.manifest.request}
        given = self.given
        # A clip starts from images or from a video: the one that is given replaces the other.
        replaced = {
            "video": ("start_images", "end_image"),
            "start_images": ("video", "mask", "strength", "video_start", "video_fps"),
        }
        dropped = {other for name, others in replaced.items() if name in given for other in others}
        if "video" in given and not self.manifest.files("video"):
            dropped.add("strength")  # it stood for no video
        for name, role in ROLES.items():
            if name not in given and name not in dropped and self.manifest.files(role):
                paths = self._find(role)
                base[name] = tuple(paths) if name == "start_images" else paths[0]
        self._note_changes(base)
        return {name: value for name, value in base.items() if name not in dropped and value is not None}

    def _note_changes(self, base: Mapping[str, Any]) -> None:
        """Note the options that say something else than the first run did."""
        first = {**base, "size": f"{base.get('height')}x{base.get('width')}"}
        for name, value in self.given.items():
            if name == "num_videos" and value > 1:
                self.changes.append(f"{value} videos")
            elif name not in ("output", "num_videos") and first.get(name) != value:
                then = first.get(name)
                self.changes.append(f"{name.replace('_', ' ')} {'' if then in (None, ()) else f'{then} '}-> {value}")

    def _find(self, role: str) -> list[Path]:
        """The files of a role: those of the first run, unchanged, or what was named in their place."""
        moved = self.moved.get(role, ())
        found: list[Path] = []
        for index, item in enumerate(self.manifest.files(role)):
            if index >= len(moved):
                found.append(item.check())
                continue
            path = moved[index]
            if not path.is_file():
                raise RequestError("There is no such file.", received=f"--input {role}={path}")
            if hash_file(path) != item.sha256:
                self.changes.append(f"another {role}")
            found.append(path)
        return found

    def _choose_target(self, asked: str | None, *, is_image: bool) -> str:
        """The output that was asked for; a folder gets the first file's name."""
        suffix = ".png" if is_image else ".mp4" if self.file.suffix.lower() == ".png" else self.file.suffix
        name = f"{self.file.stem}-rerun{suffix}"
        if asked is None:
            return str(self.file.with_name(name))
        if is_folder(asked):
            return str(Path(asked) / name)
        return asked if Path(asked).suffix else asked + suffix

    def _compare_weights(self, found: FoundWeights, *, is_chosen: bool) -> None:
        """Other weights than at the first run are an error, or a change where they were asked for.

        What the weights say of defaults and of training has no part in a run whose every setting is known.
        """
        record = self.manifest.weights
        now = dict(found.folder.hashes) if found.folder else {}
        names = {*now, *record.hashes} - {SETTINGS_FILE}
        changed = sorted(name for name in names if now.get(name) != record.hashes.get(name))
        if not changed:
            return
        if is_chosen:
            self.changes.append(f"weights {record.name} -> {found.name}")
            return
        others = " and others" if len(changed) > _NAMED else ""
        raise WeightsError(
            "The weights are not those of the first run.",
            received=f"{found.folder}: {', '.join(changed[:_NAMED])}{others} differ",
            expected=f"the weights {record.name} with the hashes that `ea info FILE --json` shows",
            fix="name where they are, or other ones: --weights",
        )


_NAMED = 5
"""Files of weights that an error names."""

_FIELDS = frozenset(VideoRequest.__dataclass_fields__)


@dataclass(frozen=True)
class _Frames:
    """What two files are compared by."""

    shape: tuple[int, ...]
    content: bytes


def _read_frames(path: Path) -> _Frames:
    kind = path.suffix.lower()
    if kind in MAX_FPS:
        pictures = read_frames(path)
        return _Frames((len(pictures), *pictures[0].shape), b"".join(one.tobytes() for one in pictures))
    frames: Any = read_image(path) if kind == ".png" else read_video(path).frames
    return _Frames(tuple(frames.shape), frames.tobytes())


def _find_weights(record: WeightsRecord) -> str:
    """What to give as `--weights`: the folder of the first run while it is there, else the name."""
    if record.folder is None:
        return "auto"
    return record.folder if Path(record.folder).is_dir() else record.name


def _differences(manifest: Manifest) -> list[str]:
    """What has changed since the first run, so that the result may differ in its last bits."""
    now = package_versions()
    changed = [
        f"{name} was {then}, is {now.get(name, 'not installed')}"
        for name, then in manifest.packages.items()
        if now.get(name) != then
    ]
    lines = [f"Other versions than at the first run: {', '.join(changed)}."] if changed else []
    processors = count_processors()
    if manifest.threads is not None and manifest.threads > processors:
        lines.append(f"The first run computed with {manifest.threads} threads, here are {processors} processors.")
    return lines
