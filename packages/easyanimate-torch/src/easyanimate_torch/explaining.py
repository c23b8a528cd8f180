"""What libraries raise while they read files of others, as one kind of error that names the file and the reason."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from easyanimate_core.errors import EasyAnimateError, WeightsError
from easyanimate_core.json_object import shorten
from easyanimate_core.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ADVICE = re.compile(r"weights_only|trust_remote_code|safe_globals|unsafe|arbitrary code|trusted source", re.IGNORECASE)
"""Words of advice to switch a safety off, or of what would happen then."""


@contextmanager
def explaining(what: str, path: Path | str, expected: str) -> Iterator[None]:
    """Raise `WeightsError` where anything goes wrong in the block; errors of ours and full memory pass.

    Args:
        what: What is read: "The weights file".
        path: Where from.
        expected: What should be there.
    """
    try:
        yield
    except (EasyAnimateError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # Rust's panics in tokenizers and safetensors are no `Exception`
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{what} cannot be read: {path}", received=describe(error), expected=expected) from error


def describe(error: BaseException) -> str:
    """What an error of a library says, without its advice to switch a safety off."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    sentences = re.split(r"(?<=[.!?])\s+|\n+", str(error))
    kept = " ".join(" ".join(sentence for sentence in sentences if not _ADVICE.search(sentence)).split())
    if len(kept) < len(" ".join(str(error).split())) and "nsupported" in str(error):
        return "it holds something else than tensors"
    return shorten(f"{type(error).__name__}: {kept}" if kept else type(error).__name__)
