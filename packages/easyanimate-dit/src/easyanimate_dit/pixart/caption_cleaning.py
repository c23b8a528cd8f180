"""What V1 to V3 do to a prompt before it is tokenized: their text encoder was used on captions from the web."""

from __future__ import annotations

from functools import cache
from typing import Any


def clean_caption(prompt: str) -> str:
    """Lower case without links, mark-up, file names, rows of digits, Chinese characters and doubled punctuation.

    The rules are those of DeepFloyd's captions as diffusers' PixArt pipeline has them; they are applied twice, because
    what one pass leaves can be something that the next one takes.
    """
    clean = _rules()
    return clean(clean(prompt)).strip()


@cache
def _rules() -> Any:
    """Diffusers' function; imported late, because the whole pipeline comes with it."""
    from easyanimate_dit.diffusers_private import load_caption_rules

    return load_caption_rules()
