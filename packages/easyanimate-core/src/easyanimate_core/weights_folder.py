"""A weights folder in the original's layout: headers, configurations, settings and hashes, each read once."""

from __future__ import annotations

import dataclasses
import math
import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from easyanimate_core.errors import WeightsError, near_misses
from easyanimate_core.integrity import hash_weights
from easyanimate_core.json_object import JsonObject, shorten
from easyanimate_core.listing import find_weights_folders, list_weights
from easyanimate_core.request import Defaults, TrainedRange
from easyanimate_core.vocabulary import Vocabulary
from easyanimate_core.weights_file import SAFETENSORS_SUFFIXES, TensorInfo, is_weights_file, read_header, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SETTINGS_FILE = "easyanimate.json"
"""Lies beside `model_index.json` where weights have settings of their own.

Its sections: "defaults" and "trained" (fields of `Defaults` and `TrainedRange`), "training" (settings by trainer) and
"prompts" ("about" and "words", see `Vocabulary`).
"""

_MAX_SIZE = 1_000_000
_MAX_NAME = 200
_MAX_ITEMS = 64
"""What numbers, texts and lists of a configuration are at most."""

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

    def files(self, component: str) -> tuple[Path, ...]:
        """The files that hold the weights of a component; see `list_weights`.

        Raises:
            WeightsError: There are none, or not all.
        """
        return list_weights(self.path / component)

    def tensors(self, component: str) -> Mapping[str, TensorInfo]:
        """All tensors of a component, by the headers of its safetensors files; empty where there are none."""
        found: dict[str, TensorInfo] = {}
        for path in self._list_files(self.path / component):
            if path.suffix in SAFETENSORS_SUFFIXES:
                found |= self.header(path)
        return found

    def count_bytes(self, bytes_per_number: int) -> int:
        """Memory that all weights take, by the files that are loaded."""
        total = 0
        for folder in find_weights_folders(self.path):
            for path in self._list_files(folder):
                if path.suffix in SAFETENSORS_SUFFIXES:
                    total += sum(math.prod(info.shape) * bytes_per_number for info in self.header(path).values())
                else:
                    total += path.stat().st_size
        return total

    def read_ahead(self) -> None:
        """Ask the system to read all files of weights from disk, where it can be asked (Linux)."""
        if not hasattr(os, "posix_fadvise"):
            return
        with suppress(OSError):
            for path in (path for folder in find_weights_folders(self.path) for path in self._list_files(folder)):
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def _list_files(self, folder: Path) -> tuple[Path, ...]:
        """As `list_weights`; where that is no component, such as the top of a folder, all files of weights."""
        try:
            return list_weights(folder)
        except WeightsError:
            return tuple(sorted(path for path in folder.glob("*") if is_weights_file(path)))

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
                received=shorten(content),
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
                received=shorten(", ".join(unknown)),
                expected=", ".join(kinds),
                fix="; ".join(hints) or None,
            )
        for name, value in values.items():
            accepted = (int, float) if kinds[name] is float else (kinds[name],)
            if not isinstance(value, accepted) or isinstance(value, bool):
                raise WeightsError(
                    f"A value of the wrong type in {path}",
                    received=f"{name}: {shorten(repr(value))}",
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
    if written.get("_class_name", class_name) != class_name:
        return dict(release)
    # null stands for what is said elsewhere: by the release.
    return {**release, **{name: value for name, value in written.items() if value is not None or name not in release}}


def check_like(config: Mapping[str, Any], release: Mapping[str, Any], source: str) -> None:
    """Raise `WeightsError` for a field of another type than the released checkpoint has, or of a size that none has.

    Args:
        config: A configuration; fields that the release lacks do not count.
        release: The values of the released checkpoint; None accepts anything plain.
        source: What the error calls the configuration.
    """
    fields = JsonObject(config, source)
    for name, example in release.items():
        _check_like(fields, name, example)


def _check_like(fields: JsonObject, name: str, example: object) -> None:
    value: object = fields.values.get(name)
    if value is None:
        return
    kind = value if example is None else example
    if isinstance(kind, bool):
        fields.boolean(name)
    elif isinstance(kind, int):
        fields.count(name, most=_MAX_SIZE)
    elif isinstance(kind, float):
        fields.number(name)
    elif isinstance(kind, str):
        fields.text(name, most=_MAX_NAME)
    elif isinstance(kind, list | tuple):
        examples = list(cast("Sequence[object]", kind))
        for index, item in enumerate(fields.items(name, most=_MAX_ITEMS)):
            key = f"{name}[{index}]"
            _check_like(JsonObject({key: item}, fields.source, fields.prefix), key, examples[0] if examples else None)
    else:
        inner, examples = fields.object(name), cast("Mapping[str, object]", example or {})
        for key in inner:
            _check_like(inner, key, examples.get(key))
