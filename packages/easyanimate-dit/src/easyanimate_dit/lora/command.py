"""`ea weights convert`: LoRA files between the original's format and peft's."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated

import typer

from easyanimate_dit.lora.convert import Format, convert_lora


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A LoRA file, or a folder of diffusers or peft.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    *,
    to: Annotated[Format | None, typer.Option(help="Format to write; the other one than that of IN.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT where it exists.")] = False,
) -> None:
    """Convert a LoRA file between the original's format and peft's.

    A converted file that is converted back is the first one again, bit for bit.
    """
    written = convert_lora(source, target, to, overwrite=force)
    typer.echo(f"Written in the format {written}:", err=True)
    typer.echo(target)
