"""`ea models`: what can be run, with which tasks, sizes, defaults and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.download import local_folder
from easyanimate_core.errors import WeightsError
from easyanimate_core.registry import load_plugins
from easyanimate_core.weights import complete_spec, find_weights

from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.registry import Plugins
    from easyanimate_core.request import Defaults
    from easyanimate_core.spec import ModelSpec, WeightsSource
    from easyanimate_core.weights import FoundWeights


def list_models() -> None:
    """List the models that are installed."""
    plugins = load_plugins()
    models = plugins.models()
    if models:
        rows = [_row(spec, plugins.weights(key)) for key, spec in models.items()]
        print_table(rows, header=("KEY", "SUMMARY", "TASKS", "SIZE", "WEIGHTS"))
    else:
        typer.echo("No model is installed. The newest one: pip install easyanimate-v4")
    if plugins.broken:
        typer.echo("Some plugins are broken: ea plugins", err=True)


def show_model(key: Annotated[str, typer.Argument(help="Key of the model; `ea models` lists them.")]) -> None:
    """Show everything about one model."""
    plugins = load_plugins()
    spec, found = _find(plugins.model(key), plugins)
    default, rule = spec.defaults, spec.shapes
    rows = [("key", spec.key), ("summary", spec.summary), ("tasks", ", ".join(spec.tasks))]
    if rule is not None:
        rows += [
            ("sizes", f"multiples of {rule.size_multiple} up to {rule.max_size}"),
            ("frames", rule.describe_frames()),
        ]
    rows += [("defaults", line) for line in _describe_defaults(default)]
    if found is not None and found.folder is not None:
        here = found.folder.defaults((found.source and found.source.defaults) or default)
        if here != default:
            rows += [(f"with {found.name}", line) for line in _describe_defaults(here)]
    rows += [
        ("samplers", ", ".join(plugins.schedulers() if spec.samplers == "registered" else spec.samplers) or "any"),
    ]
    for source in plugins.weights(key).values():
        where = f"in {local_folder(source)}" if is_here(source) else f"not here: ea weights pull {key} {source.name}"
        rows.append(("weights", f"{source.name}: {source.summary} ({source.licence}), {where}"))
    print_table(rows)


def _describe_defaults(default: Defaults) -> tuple[str, str]:
    return (
        f"--size {default.height}x{default.width} --frames {default.num_frames} --fps {default.fps}",
        f"--steps {default.num_inference_steps} --guidance {default.guidance_scale} --sampler {default.sampler}",
    )


def _find(spec: ModelSpec, plugins: Plugins) -> tuple[ModelSpec, FoundWeights | None]:
    """The model as the weights on this machine complete it, and these weights; None where there are none."""
    try:
        found = find_weights("auto", spec, plugins)
    except WeightsError:  # `ea doctor` and `ea weights` tell why
        return spec, None
    return complete_spec(spec, found.folder), found


def is_here(source: WeightsSource) -> bool:
    """Whether the folder of the weights exists; `ea weights list` looks into it."""
    return local_folder(source).is_dir()


def _row(spec: ModelSpec, sources: Mapping[str, WeightsSource]) -> tuple[str, ...]:
    default = spec.defaults
    size = f"{default.height}x{default.width}, {default.num_frames} frames"
    weights = [name if is_here(source) else f"{name} (not here)" for name, source in sources.items()]
    none = "none needed" if spec.check_weights is None else "a folder of yours"
    return spec.key, spec.summary, ", ".join(spec.tasks), size, ", ".join(weights) or none
