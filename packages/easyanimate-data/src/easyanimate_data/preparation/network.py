"""Loads networks of transformers onto a device; says which package or model is missing."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from easyanimate_core.errors import PluginError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import torch

Extra = Literal["score", "caption"]


@contextmanager
def needs_extra(extra: Extra) -> Generator[None]:
    """Turn a failed import into an error that says what to install.

    Raises:
        PluginError: When something imported in the block is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise PluginError(
            "A package that this needs is not installed.",
            received=error.name or str(error).strip().splitlines()[0],
            fix=f'pip install "easyanimate-data[{extra}]"',
        ) from error


@contextmanager
def loading(model: str | Path, *, expected: str, extra: Extra) -> Generator[None]:
    """Turn every way in which a model fails to load into one error.

    Args:
        model: Folder, file or Hugging Face id.
        expected: What it should be: "a Hugging Face id or a folder of a CLIP model".
        extra: Holds the packages that are used in the block.

    Raises:
        PluginError: When something imported in the block is not installed.
        WeightsError: When the model is not here and cannot be fetched, is damaged, or is of another kind.
    """
    from safetensors import SafetensorError

    failures = (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError)
    try:
        with needs_extra(extra):
            from transformers.utils import logging

            logging.disable_progress_bar()  # many workers load it, and nobody watches
            yield
    except failures as error:
        raise WeightsError(
            "A model cannot be loaded.",
            received=f"{model} ({type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')})",
            expected=expected,
            fix="check the name, the connection, and that files on this machine are whole",
        ) from error


def load_whole(network_class: Any, model: str | Path, dtype: str, device: torch.device) -> Any:
    """A network of transformers on a device, every weight of which comes from the model's files.

    Raises:
        RequestError: When there is no such dtype.
        WeightsError: When weights are missing; transformers would go on with random ones.
    """
    from easyanimate_torch.device import choose_dtype

    network, report = network_class.from_pretrained(model, dtype=choose_dtype(dtype, device), output_loading_info=True)
    if missing := sorted(report["missing_keys"]):
        raise WeightsError(
            "The model lacks weights.",
            received=f"{model} without {len(missing)}: {', '.join(missing[:3])}",
            expected=f"all weights of {type(network).__name__}",
        )
    return network.to(device).eval().requires_grad_(requires_grad=False)
