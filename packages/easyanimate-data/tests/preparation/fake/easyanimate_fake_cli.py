"""The commands `ea data ...` without the package easyanimate-cli: `python easyanimate_fake_cli.py prepare ...`."""

import signal
import sys

import typer
from easyanimate_data.plugin import ea_commands


def run(*words):
    """Run one command in this process."""
    (spec,) = [spec for spec in ea_commands() if (spec.group, spec.name) == ("data", str(words[0]))]
    app = typer.Typer(add_completion=False)
    app.command(spec.name)(spec.load())
    app([str(word) for word in words[1:]], standalone_mode=False)


if __name__ == "__main__":
    # A process whose parent runs in the background begins with Ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(*sys.argv[1:])
