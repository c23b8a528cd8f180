"""`ea plugins`: what is installed, what it brings, what is broken and why."""

from __future__ import annotations

from easyanimate_core.registry import load_plugins

from easyanimate_cli.table import open_console, print_table


def list_plugins() -> None:
    """List the plugins: what they bring, what is broken and why."""
    plugins = load_plugins()
    rows = [
        (plugin.distribution, plugin.version, plugin.module, ", ".join(plugin.provides) or "nothing")
        for plugin in plugins.installed
    ]
    console = open_console()
    if rows:
        print_table(rows, header=("PACKAGE", "VERSION", "MODULE", "BRINGS"))
    else:
        console.print("No plugin is installed. The newest model: pip install easyanimate-v4")
    for plugin in plugins.installed:
        if plugin.heavy_imports:
            console.print(
                f"\nSlow: {plugin.distribution} {plugin.version} ({plugin.module}) imports "
                f"{', '.join(plugin.heavy_imports)} at its top; import inside functions instead.",
                markup=False,
            )
    for broken in plugins.broken:
        name = f"{broken.distribution} {broken.version} ({broken.module})"
        console.print(f"\nBroken: {name}: {broken.error}", markup=False)
