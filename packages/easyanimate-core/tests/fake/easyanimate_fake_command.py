"""A command of the fake plugin; nothing but calling it may import this."""

from typing import Annotated

import typer


def count(upto: Annotated[int, typer.Option(help="Where to stop.")] = 3) -> None:
    """Count up to a number."""
    typer.echo(" ".join(str(number) for number in range(1, upto + 1)))
