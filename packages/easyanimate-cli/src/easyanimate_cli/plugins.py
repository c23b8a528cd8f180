"""`ea plugins`: what is installed, what it brings, what is broken and why."""

from __future__ import annotations

import typer
from easyanimate_core.registry import load_plugins

from easyanimate_cli.table import print_table


def list_plugins() -> None:
    """List the plugins: what they bring, what is broken and why."""
    plugins = load_plugins()
    rows = [
        (plugin.distribution, plugin.version, plugin.module, ", ".join(plugin.provides) or "nothing")
        for plugin in plugins.installed
    ]
    if rows:
        print_table(rows, header=("PACKAGE", "VERSION", "MODULE", "BRINGS"))
    else:
        typer.echo("No plugin is installed. The newest model: pip install easyanimate-v4")
    for plugin in plugins.installed:
        if plugin.heavy_imports:
            typer.echo(
                f"\nSlow: {plugin.distribution} {plugin.version} ({plugin.module}) imports "
                f"{', '.join(plugin.heavy_imports)} at its top; import inside functions instead."
            )
    for broken in plugins.broken:
        name = f"{broken.distribution} {broken.version} ({broken.module})"
        typer.echo(f"\nBroken: {name}: {broken.error}")
