"""The run manifest: everything needed to repeat a run, embedded in the file that the run wrote."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from easyanimate_core.animation import MAX_FPS, read_comment
from easyanimate_core.errors import EasyAnimateError, MediaError
from easyanimate_core.integrity import hash_file
from easyanimate_core.json_object import MAX_TEXT, JsonObject, parse_object, shorten
from easyanimate_core.video import read_embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from easyanimate_core.request import VideoRequest

FORMAT_VERSION = 1

_MAX_PATH = 4096
_MAX_INPUTS = 10_000
_MAX_NUMBER = 2.0**64
_RECORDED = ("torch", "diffusers", "transformers", "numpy", "av", "safetensors", "peft", "accelerate")
_NOT_JSON = frozenset({"start_images", "end_image", "video", "mask", "on_progress"})


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file that went into a run.

    Args:
        role: "image" (once per start image, in order), "end-image", "video", "mask", "lora", or the name of a
            `PartFile` with hyphens, such as "transformer".
        path: Where it was, absolute (in a file as seen from there, see `to_json`); empty for pixels that were given in
            memory.
        sha256: Hash of its content.
        weight: What a LoRA file was applied with.
    """

    role: str
    path: str
    sha256: str
    weight: float | None = None

    @classmethod
    def read(cls, role: str, path: Path, *, weight: float | None = None) -> Self:
        """Describe a file as it is now."""
        return cls(role=role, path=str(path.resolve()), sha256=hash_file(path), weight=weight)

    @classmethod
    def describe(cls, role: str, pixels: np.ndarray[Any, Any]) -> Self:
        """Describe pixels that come from no file."""
        return cls(role=role, path="", sha256=sha256(pixels.tobytes()).hexdigest())

    def check(self) -> Path:
        """The path; `MediaError` when the file is gone or its content has changed."""
        path = Path(self.path)
        if not self.path:
            raise MediaError(
                f"The {self.role} of this run was no file but pixels in memory, so it cannot be read again.",
                expected="inputs that are files",
                fix="give a path to `make` the next time, or make the video again in Python",
            )
        if not path.is_file():
            raise MediaError(
                f"A file of the run is gone: {path}",
                expected=f"the file with SHA-256 {self.sha256}",
                fix=f"put it back where it was, or name it: ea rerun FILE --input {self.role}=PATH",
            )
        if (found := hash_file(path)) != self.sha256:
            raise MediaError(
                f"A file of the run has changed: {path}",
                received=f"SHA-256 {found}",
                expected=f"SHA-256 {self.sha256}",
                fix=f"put the old one back, or take this one: ea rerun FILE --input {self.role}={path}",
            )
        return path


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """The weights of a run.

    Args:
        name: What `--weights` takes to get them again.
        folder: Where they were; None for a model without weights.
        hashes: SHA-256 of every file, by path below the folder.
    """

    name: str
    folder: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What made a file.

    Args:
        model: Key of the model.
        weights: Its weights.
        request: The request without its arrays, from `describe_request`.
        inputs: The files that the arrays came from, and LoRA files.
        device: Where it ran, such as "cuda:0" or "cpu".
        dtype: Number format, such as "bfloat16".
        threads: Threads that computed on the processor, on which the last bits may depend; None on other devices.
        timings: Seconds by phase.
        packages: Versions of the packages that took part.
        created: Time of the run, ISO 8601 in UTC.
        format_version: Version of this format.
    """

    model: str
    weights: WeightsRecord
    request: Mapping[str, Any]
    inputs: tuple[InputFile, ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    packages: Mapping[str, str] = field(default_factory=lambda: package_versions())  # noqa: PLW0108 (defined below)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    format_version: int = FORMAT_VERSION

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.request["seed"])

    def files(self, role: str) -> tuple[InputFile, ...]:
        """The input files of one role, in their order."""
        return tuple(file for file in self.inputs if file.role == role)

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        """As a JSON-able mapping, for `write_video` and `write_image`.

        Args:
            folder: Of the file that it is embedded in: paths are written as seen from there where both lie below one
                folder that is not the user's home or above it; others as `~/...` or as they are. So a folder with
                clips and inputs can be moved, and no name of a user gets into a file.
        """
        content = dataclasses.asdict(self)
        if folder is not None:
            places: list[tuple[dict[str, Any], str]] = [(content["weights"], "folder"), (content["weights"], "name")]
            for holder, key in [*places, *((item, "path") for item in content["inputs"])]:
                holder[key] = portable_path(holder[key], folder)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: Path | None = None, *, source: str = "the manifest") -> Self:
        """From what `to_json` gave; nothing in it is believed.

        Args:
            content: Plain values.
            folder: Of the file that it was embedded in; paths are absolute then.
            source: What errors call it.

        Raises:
            EasyAnimateError: When it is of a newer format, or no manifest at all.
        """
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise EasyAnimateError(
                "The manifest cannot be read by this version.",
                received=f"format version {shorten(version)}",
                expected=f"format version {FORMAT_VERSION}",
                fix="pip install --upgrade easyanimate-core",
            )
        try:
            return cls(**_read_fields(JsonObject(content, source, error=EasyAnimateError), folder))
        except EasyAnimateError as error:
            raise EasyAnimateError(
                f"The manifest is damaged: {error.message}", received=error.received, expected=error.expected
            ) from error


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a file that a run wrote: mp4, GIF, WebP or PNG.

    Raises:
        MediaError: When the file cannot be read or has no manifest.
        EasyAnimateError: When the manifest is damaged or of a newer format.
    """
    try:
        if path.suffix.lower() in MAX_FPS:
            text = read_comment(path)
            content = dict(parse_object(text, str(path), error=EasyAnimateError).values) if text else None
        else:
            content = read_embedded(path)
    except (EasyAnimateError, RecursionError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        content = None  # somebody else's comment
    if content is None or "format_version" not in content:
        raise MediaError(
            f"The file carries no manifest: {path}",
            expected="a file as `ea run` wrote it; some tools and sites strip such data",
        )
    return Manifest.from_json(content, path.parent, source=str(path))


def portable_path(path: str | None, folder: Path) -> str | None:
    """A path as a manifest in `folder` has it; see `Manifest.to_json`."""
    if not path or not Path(path).is_absolute():
        return path
    place, folder, home = Path(path), folder.resolve(), _find_home()
    try:
        common = Path(os.path.commonpath([place, folder]))
    except ValueError:  # other drives
        common = None
    if common is not None and common != Path(common.anchor) and not (home and home.is_relative_to(common)):
        relative = Path(os.path.relpath(place, folder)).as_posix()
        return f"./{relative}" if relative.startswith("~") else relative
    if home and place.is_relative_to(home):
        return f"~/{place.relative_to(home).as_posix()}"
    return path


def _find_home() -> Path | None:
    """The user's home folder; None where there is none, or where it is everything."""
    try:
        home = Path.home().resolve()
    except (RuntimeError, OSError):
        return None
    return home if home != Path(home.anchor) else None


def _absolute_path(path: str, folder: Path | None) -> str:
    """What `portable_path` was made from."""
    if not path or folder is None:
        return path
    if path == "~" or path.startswith("~/"):
        home = _find_home()
        return str(home / path[2:]) if home else path
    return os.path.abspath(folder / path)  # noqa: PTH100 (`resolve` would follow links, `absolute` keeps "..")


def _read_fields(fields: JsonObject, folder: Path | None) -> dict[str, Any]:
    """The fields of a manifest, each of its type and within bounds."""
    fields.only([item.name for item in dataclasses.fields(Manifest)])
    weights = fields.object("weights")
    weights.only([item.name for item in dataclasses.fields(WeightsRecord)])
    record = WeightsRecord(
        name=weights.text("name", most=_MAX_PATH),
        folder=_absolute_path(_read_path(weights, "folder"), folder) if "folder" in weights else None,
        hashes=_read_texts(weights.object("hashes", {})),
    )
    request = fields.object("request")
    for name in request:
        _check_plain(request, name)
    timings = fields.object("timings", {})
    values: dict[str, Any] = {
        "model": fields.text("model", least=1, most=200),
        "weights": record,
        "request": dict(request.values),
        "inputs": tuple(_read_input(item, folder) for item in fields.objects("inputs", (), most=_MAX_INPUTS)),
        "timings": {name: timings.number(name, least=0, most=1e9) for name in timings},
        "packages": _read_texts(fields.object("packages", {})),
        "format_version": FORMAT_VERSION,
    }
    if "threads" in fields:
        values["threads"] = fields.count("threads", least=1, most=10_000)
    given = {name: fields.text(name, most=100) for name in ("device", "dtype", "created") if name in fields}
    return values | given


def _read_input(item: JsonObject, folder: Path | None) -> InputFile:
    item.only([one.name for one in dataclasses.fields(InputFile)])
    return InputFile(
        role=item.text("role", least=1, most=100),
        path=_absolute_path(_read_path(item, "path"), folder),
        sha256=item.text("sha256", most=64),
        weight=item.number("weight", least=-1000, most=1000) if "weight" in item else None,
    )


def _read_path(fields: JsonObject, key: str) -> str:
    """A path; names that are not UTF-8 have half surrogates, which `text` refuses."""
    value = fields.values.get(key)
    if not isinstance(value, str) or len(value) > _MAX_PATH or "\0" in value:
        raise fields.refuse(key, value, f"a path of at most {_MAX_PATH:,} characters")
    return value


def _read_texts(fields: JsonObject) -> dict[str, str]:
    return {name: fields.text(name, most=200) for name in fields}


def _check_plain(fields: JsonObject, key: str) -> None:
    """Raise an error unless a value of the request is a text, a number, true, false or null, within bounds."""
    value = fields.values[key]
    if isinstance(value, str):
        fits = len(value) <= MAX_TEXT
    elif isinstance(value, int | float):
        fits = -_MAX_NUMBER <= value <= _MAX_NUMBER
    else:
        fits = value is None
    if not fits:
        raise fields.refuse(key, value, "a text, a number, true, false or null")


def describe_request(request: VideoRequest) -> dict[str, Any]:
    """The request as a JSON-able mapping, without arrays: they come back from the input files.

    `VideoRequest(**described, start_images=..., ...)` makes it again.
    """
    names = (item.name for item in dataclasses.fields(request) if item.name not in _NOT_JSON)
    return {name: getattr(request, name) for name in names}


def package_versions() -> dict[str, str]:
    """Versions of this toolkit's packages and of the libraries that the numbers depend on."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.name
        if name in _RECORDED or name.startswith("easyanimate"):
            versions.setdefault(name, distribution.version)
    return dict(sorted(versions.items()))
