"""The run manifest: everything needed to repeat a run, embedded in the file that the run wrote."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from easyanimate_core.errors import EasyAnimateError, MediaError
from easyanimate_core.integrity import hash_file
from easyanimate_core.video import read_embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from easyanimate_core.request import VideoRequest

FORMAT_VERSION = 1

_RECORDED = ("torch", "diffusers", "transformers", "numpy", "av", "safetensors", "peft", "accelerate")
_NOT_JSON = frozenset({"start_images", "end_image", "video", "mask", "on_progress"})


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file that went into a run.

    Args:
        role: "image" (once per start image, in order), "end-image", "video", "mask", "lora", or the name of a
            `PartFile` with hyphens, such as "transformer".
        path: Where it was, absolute; empty for pixels that were given in memory.
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
                fix="put it back where it was",
            )
        if (found := hash_file(path)) != self.sha256:
            raise MediaError(
                f"A file of the run has changed: {path}", received=f"SHA-256 {found}", expected=f"SHA-256 {self.sha256}"
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

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able mapping, for `write_video` and `write_image`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """From what `to_json` gave.

        Raises:
            EasyAnimateError: When it is of a newer format, or no manifest at all.
        """
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise EasyAnimateError(
                "The manifest cannot be read by this version.",
                received=f"format version {version}",
                expected=f"format version {FORMAT_VERSION}",
                fix="pip install --upgrade easyanimate-core",
            )
        try:
            values = dict(content)
            values["weights"] = WeightsRecord(**values["weights"])
            values["inputs"] = tuple(InputFile(**item) for item in values["inputs"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise EasyAnimateError(
                f"The manifest is damaged: {error}",
                received=", ".join(content),
                expected=", ".join(item.name for item in dataclasses.fields(cls)),
            ) from error


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of an mp4 or PNG file that a run wrote.

    Raises:
        MediaError: When the file cannot be read or has no manifest.
        EasyAnimateError: When the manifest is damaged or of a newer format.
    """
    content = read_embedded(path)
    if content is None or "format_version" not in content:
        raise MediaError(
            f"The file carries no manifest: {path}",
            expected="an mp4 or PNG file as `ea run` wrote it; some tools and sites strip such data",
        )
    return Manifest.from_json(content)


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
