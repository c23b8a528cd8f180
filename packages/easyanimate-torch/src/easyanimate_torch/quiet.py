"""Keeps diffusers and transformers from writing to the terminal while models are loaded and moved."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Errors alone are written.

    What the libraries would warn of is an error of ours, or no matter: fields that the original's trainer and pipelines
    leave in `config.json`, and float16 on a CPU, which today's PyTorch computes.
    """
    libraries = (diffusers_logging, transformers_logging)
    verbosities = [library.get_verbosity() for library in libraries]
    has_bars = transformers_logging.is_progress_bar_enabled()
    for library in libraries:
        library.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, verbosities, strict=True):
            library.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()
