"""`ea doctor`: what this machine has, what can run on it, what is missing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import typer
from easyanimate_core.download import models_home
from easyanimate_core.errors import WeightsError
from easyanimate_core.machine import Machine, format_bytes, free_disk_space, read_machine
from easyanimate_core.registry import load_plugins
from easyanimate_core.weights import find_weights

from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from easyanimate_core.registry import Plugins

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "numpy",
    "av",
    "huggingface-hub",
    "safetensors",
)


def doctor() -> None:
    """Check this machine: what can run, what is missing."""
    machine, plugins = read_machine(), load_plugins()
    sections = {
        "Machine": _machine_rows(machine),
        "Versions": [(name, _version(name)) for name in (*_packages(plugins), *LIBRARIES)],
        "Models": _model_rows(plugins) or [("none", "pip install easyanimate-v4")],
        "Missing": [("", line) for line in _gaps(machine, plugins)] or [("", "nothing")],
    }
    for title, rows in sections.items():
        typer.echo(title)
        print_table([(f"  {name}".rstrip(), value) for name, value in rows])


def _machine_rows(machine: Machine) -> list[tuple[str, str]]:
    rows = [
        ("system", machine.system),
        ("python", machine.python),
        ("processors", str(machine.num_cpus)),
        ("memory", f"{format_bytes(machine.free_memory_bytes)} free of {format_bytes(machine.memory_bytes)}"),
        ("disk", f"{format_bytes(free_disk_space(models_home()))} free for models in {models_home()}"),
    ]
    for device in machine.devices:
        memory = f"{format_bytes(device.free_bytes)} free of {format_bytes(device.memory_bytes)}"
        rows.append(
            (device.name, f"{device.model}, {memory}, runs in {device.dtypes[0]} (also {_rest(device.dtypes)})")
        )
    return rows


def _rest(dtypes: tuple[str, ...]) -> str:
    return ", ".join(dtypes[1:]) or "nothing else"


def _packages(plugins: Plugins) -> tuple[str, ...]:
    names = {plugin.distribution for plugin in (*plugins.installed, *plugins.broken)}
    return ("easyanimate-core", "easyanimate-cli", *sorted(names))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _model_rows(plugins: Plugins) -> list[tuple[str, str]]:
    """Which weights each model would run with now, or why it cannot."""
    rows: list[tuple[str, str]] = []
    for key, spec in plugins.models().items():
        try:
            found = find_weights("auto", spec, plugins)
        except WeightsError as error:
            rows.append((key, f"cannot run: {error.message}"))
        else:
            rows.append((key, f"runs with the weights {found.name}" if found.folder else "runs; needs no weights"))
    return rows


def _gaps(machine: Machine, plugins: Plugins) -> list[str]:
    gaps = [
        f"{plugin.distribution} is broken: {plugin.error}; pip install --force-reinstall {plugin.distribution}"
        for plugin in plugins.broken
    ]
    if machine.torch is None:
        gaps.append("PyTorch is not installed, which most models need: pip install easyanimate-v4")
    elif not machine.devices:
        gaps.append(f"PyTorch cannot be used ({machine.torch}): pip install --force-reinstall torch")
    elif machine.devices[0].name == "cpu":
        gaps.append("PyTorch sees no GPU: models run in float32 on the processor, which is slow for large weights")
    for key, spec in plugins.models().items():
        for source in plugins.weights(key).values():
            try:
                find_weights(source.name, spec, plugins)
            except WeightsError as error:
                gaps.append(f"{error.message} {error.fix or ''}".strip())
    return gaps
