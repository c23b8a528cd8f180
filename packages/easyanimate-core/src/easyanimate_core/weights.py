"""Finds the weights that `--weights` means, in the original's `models/` layout and in Hugging Face's cache."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.checkpoint import check_exists, check_folder
from easyanimate_core.download import hub_source, local_folder
from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.machine import format_bytes
from easyanimate_core.weights_folder import WeightsFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_core.registry import Plugins
    from easyanimate_core.spec import ModelSpec, WeightsSource

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

    folder: WeightsFolder | None
    name: str
    note: str | None = None
    source: WeightsSource | None = None


def find_weights(
    text: str,
    spec: ModelSpec,
    plugins: Plugins,
    *,
    models_folder: Path | None = None,
    cache: Path | None = None,
) -> FoundWeights:
    """Find the weights of a model that `--weights TEXT` means, and check them; downloads nothing.

    Args:
        text: "auto", the name of a source, a folder, or a Hugging Face id. "auto" takes the official weights when
            they are whole on this machine, else the demo weights.
        spec: The model.
        plugins: What is installed: sources of weights, and models that a folder may belong to instead.
        models_folder: A folder in the original's layout; None takes `./models`, then that of the user (`EA_HOME`).
        cache: Hugging Face's cache; None takes its usual place.

    Raises:
        WeightsError: When they are not here, damaged or of another model; names the command that mends it.
    """
    sources = plugins.weights(spec.key)
    finder = _Finder(spec, tuple(plugins.models().values()), sources, models_folder, cache)
    if text == "auto":
        return finder.choose()
    if text in sources:
        return FoundWeights(finder.find(sources[text]), text, source=sources[text])
    if Path(text).exists() or not _HUB_ID.fullmatch(text):
        return finder.at_path(text)
    by_hub_id = {source.hub_id: source for source in sources.values()}
    known = by_hub_id.get(text) or finder.by_path(Path(text))
    return FoundWeights(finder.find(known or hub_source(spec.key, text)), text, source=known)


def check_weights(folder: WeightsFolder, spec: ModelSpec, others: Iterable[ModelSpec] = ()) -> None:
    """Raise `WeightsError` unless the folder holds whole weights of a model.

    Args:
        folder: The weights.
        spec: The model.
        others: Models that the folder may belong to instead, which the error then names.
    """
    check_exists(folder.path)
    if spec.identify is not None:
        own = spec.identify(folder)
        surer = {
            other.key: sure
            for other in others
            if other.key != spec.key and other.identify is not None and (sure := other.identify(folder)) > own
        }
        if surer:
            best = max(surer, key=surer.__getitem__)
            raise WeightsError(
                f"These are weights of another model: {folder}",
                received=f"weights of {best}",
                expected=f"weights of {spec.key}",
                fix=f"ea run --model {best} --weights {folder}, or give weights of {spec.key}",
            )
    (spec.check_weights or check_folder)(folder)


def complete_spec(spec: ModelSpec, folder: WeightsFolder | None) -> ModelSpec:
    """The model with what its weights say of it: tasks, shapes, defaults, samplers."""
    if spec.complete is None or folder is None:
        return spec
    return replace(spec, **spec.complete(folder))


@dataclass(frozen=True)
class _Finder:
    """Looks for the weights of one model."""

    spec: ModelSpec
    models: tuple[ModelSpec, ...]
    sources: Mapping[str, WeightsSource]
    models_folder: Path | None
    cache: Path | None

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

    def find(self, source: WeightsSource) -> WeightsFolder:
        """The folder of a source: in a folder of models, else in Hugging Face's cache."""
        fix = f"ea weights pull {self.spec.key} {source.name}"
        folder = local_folder(source, self.models_folder)
        if source.path is None and not folder.is_dir():
            folder = self._cached(source) or folder
        if not folder.is_dir():
            size = f" ({format_bytes(source.size_bytes)})" if source.size_bytes else ""
            raise WeightsError(
                f"The weights {source.name} of {self.spec.key}{size} are not on this machine.",
                received=f"neither {folder} nor a download in Hugging Face's cache",
                expected=", ".join(["auto", *self.sources, "a folder", "a Hugging Face id"]),
                fix=fix if source.hub_id else f"put them into {folder}",
            )
        return self._check(folder, fix)

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
                fix=f"ea weights pull {self.spec.key} {source.name}" if source else hint,
            )
        source = self.by_path(folder)
        fix = f"ea weights pull {self.spec.key} {source.name}" if source else "copy the folder again"
        return FoundWeights(self._check(folder, fix), text, source=source)

    def by_path(self, folder: Path) -> WeightsSource | None:
        """The source that belongs at this path in the original's layout."""
        for source in self.sources.values():
            parts = Path(source.folder).parts if source.folder else ()
            if parts and folder.parts[-len(parts) :] == parts:
                return source
        return None

    def _check(self, path: Path, fix: str) -> WeightsFolder:
        """Check a folder; an error that names no way out gets the one that is known here."""
        folder = WeightsFolder(path)
        try:
            check_weights(folder, self.spec, self.models)
        except WeightsError as error:
            if error.fix:
                raise
            raise WeightsError(error.message, received=error.received, expected=error.expected, fix=fix) from error
        return folder

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
            f"Using the {taken.name} weights of {self.spec.key}{reason}. "
            f"For the {wanted.name} ones ({wanted.licence}{size}): ea weights pull {self.spec.key} {wanted.name}"
        )
