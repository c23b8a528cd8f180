"""Keeps encoded clips and captions on disk, so that each is encoded once.

The key of an entry is a hash of everything that it depends on: the clip's file and frames, the settings, and the
weights of the encoders. Whatever changes gets another key, so no stale entry is ever read; a damaged file counts as
missing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.atomic import atomic_path
from easyanimate_core.errors import RequestError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import Tensor, nn

_NUM_SAMPLED = 4096
"""Values of each tensor that the fingerprint of a model is made of."""


@dataclass(frozen=True)
class Cache:
    """Entries of tensors and a text, by key.

    Args:
        folder: Folder of the entries.
        source: Identifies the encoders and settings; part of every key.
    """

    folder: Path
    source: str

    def make_key(self, *parts: object) -> str:
        """The key of the entry that depends on these values."""
        return hashlib.sha256("\n".join([self.source, *map(str, parts)]).encode()).hexdigest()

    def read(self, key: str) -> tuple[dict[str, Tensor], str] | None:
        """The tensors and the text of an entry; None where there is none."""
        try:
            with safe_open(self._path(key), framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()["text"]  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError):
            return None

    def write(self, key: str, tensors: dict[str, Tensor], text: str = "") -> None:
        """Write an entry, whole or not at all."""
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_path(self._path(key)) as part:
            save_file(content, part, metadata={"text": text})

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def fingerprint(models: Iterable[nn.Module | None]) -> str:
    """A hash that identifies the weights of models: names, shapes and evenly spread values."""
    found = hashlib.sha256()
    for model in models:
        for name, tensor in (model.state_dict() if model is not None else {}).items():
            flat = tensor.detach().reshape(-1)
            chosen = flat[:: max(flat.numel() // _NUM_SAMPLED, 1)].float().cpu()
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(chosen.numpy().tobytes())
    return found.hexdigest()


def require_identity(identity: str) -> None:
    """Raise `RequestError` for clips without an identity, which no later run could find in the cache."""
    if not identity:
        raise RequestError(
            "These clips cannot be cached.",
            received="cache, with data that differs in every epoch or does not identify its clips",
            fix="set data.passes to 1, or leave out cache",
        )


def stack_entries(entries: list[dict[str, Any]], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, stacked over the entries, by their names without it."""
    names = [name for name in entries[0] if name.startswith(prefix)]
    return {name.removeprefix(prefix): torch.stack([entry[name] for entry in entries]) for name in names}
