"""Single files beside a weights folder: a transformer that replaces the folder's, and V1's motion module."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import check_file, read_header
from easyanimate_core.errors import RequestError, WeightsError
from easyanimate_core.spec import LoraFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from easyanimate_core.spec import LoadOptions

MOTION_MARK = "temporal"
"""Stands in the name of every tensor of a motion module, and in no other."""


TRANSFORMER_FILE = "transformer/diffusion_pytorch_model.safetensors"
LORA_FILE = "lora.safetensors"


def find_trained(path: Path, name: str) -> Path:
    """The file that `path` means where it may be the folder of a training.

    Args:
        path: A file; or what `ea train` wrote: the folder of the run, one of its checkpoints, or its `weights`.
        name: What is looked for in a folder: `LORA_FILE` or `TRANSFORMER_FILE`.

    Returns:
        The finished weights, else those of the newest checkpoint; `path` itself where it is no such folder.
    """
    if not path.is_dir():
        return path
    checkpoints = sorted(path.glob("checkpoints/step-*"), reverse=True)
    places = (path / "weights", path, *(folder for folder in checkpoints if not folder.suffix))
    return next((place / name for place in places if (place / name).is_file()), path)


def parse_lora(text: str) -> LoraFile:
    """A LoRA file and its weight from "FILE" or "FILE:WEIGHT"; the folder of a training stands for what was trained."""
    path, _, weight = text.rpartition(":")
    try:
        lora = LoraFile(Path(path), float(weight)) if path else LoraFile(Path(text))
    except ValueError:
        lora = LoraFile(Path(text))
    lora = replace(lora, path=find_trained(lora.path, LORA_FILE))
    if not lora.path.is_file():
        raise RequestError(
            "There is no such LoRA file.", received=lora.path, expected="--lora FILE or --lora FILE:WEIGHT"
        )
    if not math.isfinite(lora.weight):
        raise RequestError("The weight of a LoRA is a number.", received=text, expected="for example 0.6")
    return lora


def check_part_file(path: Path) -> None:
    """Raise `WeightsError` unless `path` is a whole weights file, and no LoRA."""
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file {path}",
            received="a folder" if path.is_dir() else "nothing there",
            expected="a .safetensors or PyTorch file",
        )
    check_file(path)
    if path.suffix == ".safetensors" and any(".lora_" in name for name in read_header(path)):
        raise WeightsError(f"This is a LoRA file: {path}", expected="weights of a transformer", fix=f"--lora {path}")


def check_lora_files(options: LoadOptions) -> None:
    """Raise `WeightsError` unless every LoRA file is whole and one; headers only, before anything large is loaded."""
    for lora in options.loras:
        if lora.path.suffix != ".safetensors" or not lora.path.is_file():
            continue  # the folder of diffusers or peft, which is looked at when it is read
        names = read_header(lora.path)
        if names and not any(".lora_" in name for name in names):
            raise WeightsError(
                f"This is not a LoRA file: {lora.path}",
                received=f"tensors such as {next(iter(names))}",
                expected="tensors such as lora_unet__... .lora_down.weight or transformer. ... .lora_A.weight",
                fix=f"for weights of a transformer, use --transformer {lora.path}",
            )


def holds_motion(paths: Iterable[Path]) -> bool:
    """Whether any of these safetensors files holds a motion module."""
    return any(MOTION_MARK in name for path in paths if path.suffix == ".safetensors" for name in read_header(path))


def is_motion_module(path: Path) -> bool:
    """Whether a safetensors file holds nothing but a motion module."""
    return path.suffix == ".safetensors" and all(MOTION_MARK in name for name in read_header(path))


def check_transformer_file(options: LoadOptions) -> LoadOptions:
    """Check `options.transformer` for a version whose transformer has its motion modules: `ModelSpec.find_files`.

    Raises:
        RequestError: There is a motion module as well.
        WeightsError: The file, or that of a LoRA, is missing, damaged or a motion module.
    """
    if options.motion_module is not None:
        raise RequestError(
            "This version takes no motion module: its transformer has them.",
            received=options.motion_module,
            fix="leave out --motion-module, or use --model v1",
        )
    if options.transformer is not None:
        check_part_file(options.transformer)
        if is_motion_module(options.transformer):
            raise WeightsError(
                f"This is V1's motion module: {options.transformer}",
                received="nothing but tensors of a motion module",
                expected="weights of a transformer of this version, which has its motion modules",
                fix=f"ea run --model v1 --motion-module {options.transformer}",
            )
    check_lora_files(options)
    return options
