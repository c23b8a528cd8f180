"""Single files beside a weights folder: parts that replace or complete it, and LoRA files."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.errors import RequestError, WeightsError, near_misses
from easyanimate_core.json_object import shorten
from easyanimate_core.spec import LoraFile
from easyanimate_core.weights_file import SAFETENSORS_SUFFIXES, check_file, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from easyanimate_core.errors import EasyAnimateError
    from easyanimate_core.spec import ModelSpec, PartFile
    from easyanimate_core.weights_file import TensorInfo

TRAINED_FILES = {"transformer": "transformer/diffusion_pytorch_model.safetensors", "lora": "lora.safetensors"}
"""What `ea train` writes for a part, below the folder of the weights."""

_LORA_NAMES = ("pytorch_lora_weights", "adapter_model")
"""What diffusers and peft call the file in a folder."""
_LORA_MARKS = re.compile(r"\.lora[_.]|\.hada_|\.lokr_|\.dora_scale$|\.diff(_b)?$|\.(oft|boft|vera)_|\.ia3_")


def find_trained(path: Path, part: str) -> Path:
    """The file that `path` means where it may be the folder of a training.

    Args:
        path: A file; or what `ea train` wrote: the folder of the run, one of its checkpoints, or its `weights`.
        part: What is looked for in a folder: "lora", or the name of a `PartFile`.

    Returns:
        The finished weights, else those of the newest checkpoint; `path` itself where it is no such folder.
    """
    name = TRAINED_FILES.get(part)
    if name is None or not path.is_dir():
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
    lora = replace(lora, path=find_lora(find_trained(lora.path, "lora"), error=RequestError))
    if not math.isfinite(lora.weight):
        raise RequestError("The weight of a LoRA is a number.", received=text, expected="for example 0.6")
    return lora


def find_lora(path: Path, *, error: type[EasyAnimateError] = WeightsError) -> Path:
    """The LoRA file that `path` means: a file, or the one in the folder of diffusers or peft.

    Raises:
        EasyAnimateError: Of the class `error`: there is none.
    """
    files = [path / f"{name}{suffix}" for name in _LORA_NAMES for suffix in (".safetensors", ".bin")]
    found = path if path.is_file() else next((file for file in files if file.is_file()), None)
    if found is None:
        raise error(
            "There is no LoRA file in the folder." if path.is_dir() else "There is no such LoRA file.",
            received=path,
            expected=f"--lora FILE or --lora FILE:WEIGHT; of a folder, {' or '.join(_LORA_NAMES)}",
        )
    return found


def check_lora_files(loras: Iterable[LoraFile]) -> None:
    """Raise an error unless every LoRA file is there, whole and one; headers only, before anything large is loaded."""
    for lora in loras:
        path = find_lora(lora.path, error=RequestError)
        if path.suffix not in SAFETENSORS_SUFFIXES:
            check_file(path)
            continue
        names = read_header(path)
        if names and not is_lora(names):
            raise WeightsError(
                f"This is not a LoRA file: {path}",
                received=f"tensors such as {shorten(next(iter(names)))}",
                expected="tensors such as lora_unet__... .lora_down.weight or transformer. ... .lora_A.weight",
                fix=f"for weights of a transformer, use --transformer {path}",
            )


def is_lora(names: Iterable[str]) -> bool:
    """Whether tensors of these names change a model instead of being one: LoRA, LoHa, LoKr, DoRA and the like."""
    return any(_LORA_MARKS.search(name) for name in names)


def check_part_files(parts: Mapping[str, Path], spec: ModelSpec, others: Iterable[ModelSpec] = ()) -> None:
    """Check the files that were given for the parts of a model; headers only.

    Args:
        parts: Files by the name of the part.
        spec: The model.
        others: Models whose parts a file may be instead.

    Raises:
        RequestError: The model takes no such part.
        WeightsError: A file is missing, damaged, a LoRA, or another part.
    """
    known = {part.name: part for part in spec.part_files}
    for name, path in parts.items():
        if name not in known:
            option = name.replace("_", "-")
            raise RequestError(
                f"The model {spec.key} takes no file for {name}.",
                received=path,
                expected=", ".join(known) or "no weights beside its folder",
                fix=near_misses(name, known) or f"leave out --{option}",
            )
        header = check_part_file(path)
        if header is not None:
            _refuse_other_part(known[name], path, header, (spec, *others))


def check_part_file(path: Path) -> Mapping[str, TensorInfo] | None:
    """Raise `WeightsError` unless `path` is a whole weights file, and no LoRA.

    Returns:
        Its tensors; None for a PyTorch file, which does not tell before it is loaded.
    """
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file {path}",
            received="a folder" if path.is_dir() else "nothing there",
            expected="a .safetensors or PyTorch file",
        )
    if path.suffix not in SAFETENSORS_SUFFIXES:
        check_file(path)
        return None
    header = read_header(path)
    if is_lora(header):
        raise WeightsError(f"This is a LoRA file: {path}", expected="weights of a transformer", fix=f"--lora {path}")
    return header


def _refuse_other_part(
    asked: PartFile, path: Path, header: Mapping[str, TensorInfo], models: Sequence[ModelSpec]
) -> None:
    """Raise `WeightsError` where a file is not the part that it was given for, as far as that can be told."""
    received = f"tensors such as {shorten(next(iter(header), 'none'))}"
    for model in models:
        for part in model.part_files:
            if part.name != asked.name and part.matches is not None and part.matches(header):
                raise WeightsError(
                    f"This is the {part.name.replace('_', ' ')} of {model.key}: {path}",
                    received=received,
                    expected=f"a file for --{asked.name.replace('_', '-')}",
                    fix=f"ea run --model {model.key} --{part.name.replace('_', '-')} {path}",
                )
    if asked.matches is not None and not asked.matches(header):
        raise WeightsError(
            f"This is not the {asked.name.replace('_', ' ')} of {models[0].key}: {path}",
            received=received,
            fix=f"for a transformer, use --transformer {path}",
        )
