"""One golden file: configuration, call, weights, inputs and outputs of the original implementation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True)
class Comparison:
    """One output against its golden value.

    Args:
        name: Of the output.
        difference: The largest absolute difference; infinite where the shapes differ.
        tolerance: The largest one allowed.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class GoldenCase:
    """A golden file, read as it is needed.

    Args:
        path: The file; those it takes weights from lie beside it.
    """

    path: Path

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself."""
        with safe_open(self.path, "pt") as file:
            return file.metadata() or {}

    @property
    def class_name(self) -> str:
        """The original's class, by which a runner is found."""
        return self.metadata.get("class", "")

    @cached_property
    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return json.loads(self.metadata.get("config", "{}"))

    @cached_property
    def call(self) -> dict[str, Any]:
        """Call arguments that are no tensors."""
        return json.loads(self.metadata.get("call", "{}"))

    @cached_property
    def inputs(self) -> Tensors:
        """Call arguments that are tensors."""
        return self.read("inputs/")

    @cached_property
    def outputs(self) -> Tensors:
        """What the original gave."""
        return self.read("outputs/")

    @cached_property
    def weights(self) -> Tensors:
        """The weights, wherever they lie; what stands later replaces what came before."""
        weights: Tensors = {}
        for file in self.weight_files:
            weights |= GoldenCase(file).read("weights/")
        for source in json.loads(self.metadata.get("weights_from", "[]")):
            own = GoldenCase(self.path.parent / source["file"]).read("weights/")
            weights |= {source["add_prefix"] + name: tensor for name, tensor in own.items()}
        return weights | self.read("weights/")

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Sibling files that the weights come from."""
        names = json.loads(self.metadata.get("weights_files", "[]"))
        if "weights_file" in self.metadata:
            names.append(self.metadata["weights_file"])
        return tuple(self.path.parent / name for name in names)

    def read(self, prefix: str) -> Tensors:
        """The tensors of this file whose names start so, without it."""
        with safe_open(self.path, "pt") as file:
            return {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 (no mapping)
                if name.startswith(prefix)
            }

    def names(self) -> list[str]:
        """Names of all tensors."""
        with safe_open(self.path, "pt") as file:
            return list(file.keys())


def strip(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names start so, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def compare(name: str, actual: Tensor, expected: Tensor, tolerance: float) -> Comparison:
    """Compare two tensors."""
    if actual.shape != expected.shape:
        return Comparison(f"{name} {tuple(actual.shape)}, not {tuple(expected.shape)}", float("inf"), tolerance)
    difference = (actual.double() - expected.double()).abs().max().item() if expected.numel() else 0.0
    return Comparison(name, difference if difference == difference else float("inf"), tolerance)  # noqa: PLR0124 (NaN)
