"""Single files beside a weights folder: a transformer that replaces the folder's, and V1's motion module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.checkpoint import check_file, read_header
from easyanimate_core.errors import RequestError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from easyanimate_core.spec import LoadOptions

MOTION_MARK = "temporal"
"""Stands in the name of every tensor of a motion module, and in no other."""


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
