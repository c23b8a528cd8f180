"""Finds the weights that `--weights` means, in the original's `models/` layout and in Hugging Face's cache."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from easyanimate_core.checkpoint import check_exists, check_folder, read_json
from easyanimate_core.download import MODELS_FOLDER, hub_source, local_folder, pull, unpack_archive
from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.integrity import FileCheck, hash_weights, verify
from easyanimate_core.machine import format_bytes
from easyanimate_core.spec import Defaults, TrainedRange

if TYPE_CHECKING:
    from easyanimate_core.spec import WeightsSource

__all__ = [
    "DEFAULTS_FILE",
    "MODELS_FOLDER",
    "FileCheck",
    "FoundWeights",
    "hash_weights",
    "hub_source",
    "local_folder",
    "pull",
    "read_defaults",
    "read_trained",
    "read_training",
    "resolve_weights",
    "unpack_archive",
    "verify",
]

DEFAULTS_FILE = "easyanimate.json"
"""Lies beside `model_index.json` where weights have defaults of their own."""

_Section = TypeVar("_Section", Defaults, TrainedRange)

CheckWeights = Callable[[Path], None]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class FoundWeights:
    """Weights that are on this machine.

    Args:
        folder: Where they are; None for a model without weights.
        name: "demo", "official", a path or a Hugging Face id: what `--weights` takes to get the same again.
        note: A line for the user where "auto" fell back on something.
        source: What is known of them; None for a folder that no plugin offers.
    """

    folder: Path | None
    name: str
    note: str | None = None
    source: WeightsSource | None = None


def resolve_weights(  # noqa: PLR0913 (keyword-only)
    text: str,
    *,
    model_key: str,
    sources: Mapping[str, WeightsSource],
    models_folder: Path = MODELS_FOLDER,
    cache: Path | None = None,
    check: CheckWeights | None = None,
) -> FoundWeights:
    """Find the weights that `--weights TEXT` means; downloads nothing.

    Args:
        text: "auto", the name of a source, a folder, or a Hugging Face id. "auto" takes the official weights when
            they are whole on this machine, else the demo weights.
        model_key: Key of the model.
        sources: Weights of the model by name, from `Plugins.weights`.
        models_folder: The original's `models/` folder.
        cache: Hugging Face's cache; None takes its usual place.
        check: `ModelSpec.check_weights`; None checks what `model_index.json` names.

    Raises:
        WeightsError: When they are not here, damaged or of another model; names the command that mends it.
    """
    finder = _Finder(model_key, sources, models_folder, cache, check or check_folder)
    if text == "auto":
        return finder.choose()
    if text in sources:
        return FoundWeights(finder.find(sources[text]), text, source=sources[text])
    if Path(text).exists() or not _HUB_ID.fullmatch(text):
        return finder.at_path(text)
    by_hub_id = {source.hub_id: source for source in sources.values()}
    known = by_hub_id.get(text) or finder.by_path(Path(text))
    return FoundWeights(finder.find(known or hub_source(model_key, text)), text, source=known)


def read_defaults(folder: Path, base: Defaults) -> Defaults:
    """Defaults of a request for these weights: `base`, with what "defaults" in `easyanimate.json` says instead."""
    return _read_section(folder, "defaults", base)


def read_trained(folder: Path, base: TrainedRange | None) -> TrainedRange | None:
    """What these weights were trained on: "trained" in their `easyanimate.json`, `base` where they have no such file.

    None where the file does not say: it tells of other weights than those that `base` is about.
    """
    path = folder / DEFAULTS_FILE
    if not path.is_file():
        return base
    return _read_section(folder, "trained", TrainedRange()) if "trained" in read_json(path) else None


def read_training(folder: Path, trainer: str) -> dict[str, Any]:
    """Settings of a trainer that are usual for these weights, by whole names: "training" in `easyanimate.json`."""
    path = folder / DEFAULTS_FILE
    content: object = read_json(path).get("training", {}) if path.is_file() else {}
    found: object = cast("dict[str, Any]", content).get(trainer, {}) if isinstance(content, dict) else content
    if not isinstance(found, dict):
        raise WeightsError(
            f"The training settings in {path} are no JSON object.", received=found, expected="names and values"
        )
    return cast("dict[str, Any]", found)


def _read_section(folder: Path, section: str, base: _Section) -> _Section:
    """`base` with the values of one section of `easyanimate.json`."""
    path = folder / DEFAULTS_FILE
    if not path.is_file():
        return base
    content: object = read_json(path).get(section, {})
    if not isinstance(content, dict):
        raise WeightsError(
            f"The {section} in {path} are no JSON object.", received=content, expected="names and values"
        )
    values = cast("dict[str, Any]", content)
    kinds: dict[str, type] = {field.name: type(getattr(base, field.name)) for field in dataclasses.fields(base)}
    unknown = [name for name in values if name not in kinds]
    if unknown:
        hints = [hint for name in unknown if (hint := near_misses(name, kinds))]
        raise WeightsError(
            f"Unknown {section} in {path}",
            received=", ".join(unknown),
            expected=", ".join(kinds),
            fix="; ".join(hints) or None,
        )
    for name, value in values.items():
        accepted = (int, float) if kinds[name] is float else (kinds[name],)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise WeightsError(
                f"A default of the wrong type in {path}",
                received=f"{name}: {value!r}",
                expected=f"{name}: {kinds[name].__name__}",
            )
    return dataclasses.replace(base, **values)


@dataclass(frozen=True)
class _Finder:
    """Looks for the weights of one model."""

    model_key: str
    sources: Mapping[str, WeightsSource]
    models_folder: Path
    cache: Path | None
    check: CheckWeights

    def choose(self) -> FoundWeights:
        """The first source that is whole on this machine: official, then others, then demo."""
        if not self.sources:
            return FoundWeights(None, "none")
        order = {"official": 0, "demo": 2}
        ranked = sorted(self.sources.values(), key=lambda source: order.get(source.name, 1))
        passed: list[WeightsError] = []
        for source in ranked:
            try:
                folder = self.find(source)
            except WeightsError as error:
                passed.append(error)
            else:
                note = self._fallback_note(source, ranked[0], passed) if passed else None
                return FoundWeights(folder, source.name, note, source)
        raise passed[0]

    def find(self, source: WeightsSource) -> Path:
        """The folder of a source: below `models/`, else in Hugging Face's cache."""
        fix = f"ea weights pull {self.model_key} {source.name}"
        folder = local_folder(source, self.models_folder)
        if source.path is None and not folder.is_dir():
            folder = self._cached(source) or folder
        if not folder.is_dir():
            size = f" ({format_bytes(source.size_bytes)})" if source.size_bytes else ""
            raise WeightsError(
                f"The weights {source.name} of {self.model_key}{size} are not on this machine.",
                received=f"neither {folder} nor a download in Hugging Face's cache",
                expected=", ".join(["auto", *self.sources, "a folder", "a Hugging Face id"]),
                fix=fix if source.hub_id else f"put them into {folder}",
            )
        self._check(folder, fix)
        return folder

    def at_path(self, text: str) -> FoundWeights:
        """Weights in a folder that the user named."""
        folder = Path(text)
        if not folder.exists():
            source = self.by_path(folder)
            hint = near_misses(text, ["auto", *self.sources])
            raise WeightsError(
                f"There are no weights {text}",
                received=text,
                expected=", ".join(["auto", *self.sources, "a folder", "a Hugging Face id"]),
                fix=f"ea weights pull {self.model_key} {source.name}" if source else hint,
            )
        source = self.by_path(folder)
        self._check(folder, f"ea weights pull {self.model_key} {source.name}" if source else "copy the folder again")
        return FoundWeights(folder, text, source=source)

    def by_path(self, folder: Path) -> WeightsSource | None:
        """The source that belongs at this path in the original's layout."""
        for source in self.sources.values():
            parts = Path(source.folder).parts if source.folder else ()
            if parts and folder.parts[-len(parts) :] == parts:
                return source
        return None

    def _check(self, folder: Path, fix: str) -> None:
        """Check the folder; an error that names no way out gets the one that is known here."""
        try:
            check_exists(folder)
            self.check(folder)
        except WeightsError as error:
            if error.fix:
                raise
            raise WeightsError(error.message, received=error.received, expected=error.expected, fix=fix) from error

    def _cached(self, source: WeightsSource) -> Path | None:
        if source.hub_id is None:
            return None
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        hub: Any = importlib.import_module("huggingface_hub")  # its own types are incomplete
        try:
            return Path(hub.snapshot_download(source.hub_id, cache_dir=self.cache, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            return None

    def _fallback_note(self, taken: WeightsSource, wanted: WeightsSource, passed: list[WeightsError]) -> str:
        size = f", {format_bytes(wanted.size_bytes)}" if wanted.size_bytes else ""
        here = local_folder(wanted, self.models_folder).is_dir()
        reason = f" ({passed[0].message})" if here else ""
        return (
            f"Using the {taken.name} weights of {self.model_key}{reason}. "
            f"For the {wanted.name} ones ({wanted.licence}{size}): ea weights pull {self.model_key} {wanted.name}"
        )
