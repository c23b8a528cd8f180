"""What this package adds to `ea`: `ea train dit`, `ea train lora` and `ea weights convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.hookspecs import hookimpl
from easyanimate_core.spec import CommandSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _load_train_dit() -> Callable[..., None]:
    from easyanimate_dit.training.command import train_transformer

    return train_transformer


def _load_train_lora() -> Callable[..., None]:
    from easyanimate_dit.training.command import train_lora

    return train_lora


def _load_convert() -> Callable[..., None]:
    from easyanimate_dit.lora.command import convert

    return convert


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer the trainers, and the conversion of LoRA files."""
    yield CommandSpec(group="train", name="dit", summary="Train the video transformer.", load=_load_train_dit)
    yield CommandSpec(group="train", name="lora", summary="Train a LoRA of the transformer.", load=_load_train_lora)
    yield CommandSpec(
        group="weights",
        name="convert",
        summary="Convert a LoRA file to peft's format, or back.",
        load=_load_convert,
    )
