"""A weights folder in the original's layout: headers, configurations, settings and hashes, each read once."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.integrity import hash_weights
from easyanimate_core.request import Defaults, TrainedRange
from easyanimate_core.vocabulary import Vocabulary
from easyanimate_core.weights_file import PICKLE_SUFFIXES, TensorInfo, read_header, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS_FILE = "easyanimate.json"
"""Lies beside `model_index.json` where weights have settings of their own.

Its sections: "defaults" and "trained" (fields of `Defaults` and `TrainedRange`), "training" (settings by trainer) and
"prompts" ("about" and "words", see `Vocabulary`).
"""

_Section = TypeVar("_Section", Defaults, TrainedRange)


class WeightsFolder:
    """What can be known of a weights folder without loading it.

    Everything is read when it is first asked for, and kept: make a new one for a folder that has changed.

    Args:
        path: The folder; it need not be whole, nor even exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._configs: dict[str, dict[str, Any]] = {}
        self._headers: dict[Path, dict[str, TensorInfo]] = {}

    def __str__(self) -> str:
        """The path."""
        return str(self.path)

    def config(self, component: str, name: str = "config.json") -> Mapping[str, Any]:
        """The configuration of a component ("transformer", "vae", ...); empty where there is none.

        Raises:
            WeightsError: It is damaged.
        """
        key = f"{component}/{name}"
        if key not in self._configs:
            path = self.path / component / name
            self._configs[key] = read_json(path) if path.is_file() else {}
        return self._configs[key]

    def header(self, path: Path) -> Mapping[str, TensorInfo]:
        """The tensors of a safetensors file.

        Raises:
            WeightsError: It is damaged.
        """
        if path not in self._headers:
            self._headers[path] = read_header(path)
        return self._headers[path]

    def tensors(self, component: str) -> Mapping[str, TensorInfo]:
        """All tensors of a component, by the headers of its safetensors files; empty where there are none."""
        paths = sorted((self.path / component).glob("*.safetensors"))
        return {name: info for path in paths for name, info in self.header(path).items()}

    def count_bytes(self, bytes_per_number: int) -> int:
        """Memory that all weights take; of a component in two formats, safetensors counts."""
        total = 0
        for component in {path.parent for path in self.path.rglob("*") if path.is_file()}:
            headers = [self.header(path) for path in component.glob("*.safetensors")]
            if headers:
                total += sum(math.prod(info.shape) * bytes_per_number for header in headers for info in header.values())
            else:
                total += sum(path.stat().st_size for path in component.iterdir() if path.suffix in PICKLE_SUFFIXES)
        return total

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of every file, by path below the folder; see `hash_weights`."""
        return hash_weights(self.path)

    def defaults(self, base: Defaults) -> Defaults:
        """Usual values of a request: `base`, with what "defaults" in `easyanimate.json` says instead."""
        return self._complete("defaults", base)

    def trained(self, base: TrainedRange | None) -> TrainedRange | None:
        """What the weights were trained on: "trained" in `easyanimate.json`, `base` where there is no such file.

        None where the file does not say: it tells of other weights than those that `base` is about.
        """
        if not (self.path / SETTINGS_FILE).is_file():
            return base
        return self._complete("trained", TrainedRange()) if "trained" in self._settings else None

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The words that the weights know: "prompts" in `easyanimate.json`; None where they know more than a list."""
        if "prompts" not in self._settings:
            return None
        section = self._section("prompts")
        about, words = section.get("about"), section.get("words")
        if not isinstance(about, str) or not isinstance(words, list):
            raise WeightsError(
                f"The prompts in {self.path / SETTINGS_FILE} are no vocabulary.",
                received=", ".join(section) or "nothing",
                expected='"about": what the weights show, "words": a list of words',
            )
        return Vocabulary(about, frozenset(str(word).lower() for word in cast("list[Any]", words)))

    def training(self, trainer: str) -> Mapping[str, Any]:
        """Usual settings of a trainer, by whole names: "training" in `easyanimate.json`."""
        return self._check_mapping(f"training settings of {trainer}", self._section("training").get(trainer, {}))

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        path = self.path / SETTINGS_FILE
        return read_json(path) if path.is_file() else {}

    def _section(self, name: str) -> Mapping[str, Any]:
        return self._check_mapping(name, self._settings.get(name, {}))

    def _check_mapping(self, name: str, content: object) -> Mapping[str, Any]:
        if not isinstance(content, dict):
            raise WeightsError(
                f"The {name} in {self.path / SETTINGS_FILE} are no JSON object.",
                received=content,
                expected="names and values",
            )
        return cast("dict[str, Any]", content)

    def _complete(self, section: str, base: _Section) -> _Section:
        """`base` with the values of a section."""
        values, path = self._section(section), self.path / SETTINGS_FILE
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
                    f"A value of the wrong type in {path}",
                    received=f"{name}: {value!r}",
                    expected=f"{name}: {kinds[name].__name__}",
                )
        return dataclasses.replace(base, **values)


def complete_config(written: Mapping[str, Any], class_name: str, release: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that a component is built with.

    Args:
        written: What its `config.json` says. It counts if it is one of this class; otherwise it describes the 2D model
            that the component was trained from, and the release stands.
        class_name: Of the component.
        release: The values of the released checkpoint.
    """
    return {**release, **written} if written.get("_class_name", class_name) == class_name else dict(release)
