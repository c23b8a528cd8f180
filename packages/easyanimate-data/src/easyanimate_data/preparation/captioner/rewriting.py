"""Has a language model rewrite captions and prompts, and finds the rewritten text in what it answers."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.errors import MediaError

from easyanimate_data.preparation.captioner.instruction import (
    ANSWER_KEY,
    ENHANCE_INSTRUCTION,
    PLACEHOLDER,
    REWRITE_INSTRUCTION,
    ask_about,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from easyanimate_core.preparation import Captioner

ATTEMPTS = 10
"""How often an unreadable answer is asked for again, at the most; as later versions of the original."""

COMPAT_ATTEMPTS = 1
"""The same in the original's V4."""

# Straight, curly and corner quotes; colons and commas, wide ones as well.
_QUOTE = r"[\"'\u201c\u201d\u2018\u2019\u300c\u300d]"
_COLON = r"\s*[:\uff1a]\s*"
_COMMA = r"[,\uff0c]"
# An object that is no JSON: other quotes, quotes within the text, a comma too many, line breaks.
_LOOSE_ANSWER = re.compile(
    rf"\{{[^{{}}]*?{_QUOTE}{ANSWER_KEY.replace(' ', '[ _]')}{_QUOTE}{_COLON}{_QUOTE}(?P<text>.*?){_QUOTE}\s*"
    rf"(?:{_COMMA}?\s*\}}|{_COMMA}\s*{_QUOTE}[\w ]+{_QUOTE}{_COLON})",
    re.DOTALL | re.IGNORECASE,
)


def parse_rewritten(answer: str) -> str | None:
    """The rewritten text in the first {...} that holds one; None where there is none.

    Reads JSON anywhere in the answer (in code fences, within other objects), and forgives what models get wrong:
    quotes of other kinds or within the text, a comma too many, line breaks. An echo of the instruction is none.
    """
    loose = (match["text"].replace('\\"', '"').replace("\\n", "\n") for match in _LOOSE_ANSWER.finditer(answer))
    texts = (text.strip() for text in chain(_json_answers(answer), loose))
    return next((text for text in texts if text not in ("", PLACEHOLDER)), None)


def rewrite(
    captioner: Captioner,
    texts: Sequence[str],
    *,
    instruction: str = REWRITE_INSTRUCTION,
    attempts: int = ATTEMPTS,
) -> list[str | MediaError]:
    """Rewrite texts together; those whose answers cannot be read are asked for again.

    A later question says how many came before: a model that always answers the same to the same words gets another.

    Args:
        captioner: The language model.
        texts: Captions or prompts.
        instruction: Asks for JSON with the entry "rewritten description".
        attempts: Questions per text at the most.

    Returns:
        Per text the new one, or why there is none.
    """
    results: list[str | MediaError | None] = [None] * len(texts)
    last: dict[int, str] = {}
    for attempt in range(attempts):
        unanswered = [index for index, result in enumerate(results) if result is None]
        if not unanswered:
            break
        again = f"\n\nAttempt {attempt + 1}: the answer before was not in the form asked for." if attempt else ""
        questions = [ask_about(instruction, texts[index]) + again for index in unanswered]
        for index, answer in zip(unanswered, captioner(questions, [None] * len(questions)), strict=True):
            results[index] = parse_rewritten(answer) if isinstance(answer, str) else answer
            last[index] = str(answer)
    return [
        _unreadable(last.get(index, ""), attempts) if result is None else result for index, result in enumerate(results)
    ]


def enhance_prompts(captioner: Captioner, prompts: Sequence[str], *, attempts: int = 5) -> list[str | MediaError]:
    """Turn short prompts into full descriptions, of the kind that models are trained on."""
    return rewrite(captioner, prompts, instruction=ENHANCE_INSTRUCTION, attempts=attempts)


def _json_answers(answer: str) -> Iterator[str]:
    """Every rewritten text in the JSON objects of an answer, from the left."""
    decoder = json.JSONDecoder(strict=False)
    for brace in re.finditer(r"\{", answer):
        try:
            value, _ = decoder.raw_decode(answer, brace.start())
        except (ValueError, RecursionError):
            continue
        yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for key, entry in cast("dict[str, Any]", value).items():
        if key.strip().lower().replace("_", " ") == ANSWER_KEY and isinstance(entry, str):
            yield entry
        else:
            yield from _texts(entry)


def _unreadable(answer: str, attempts: int) -> MediaError:
    return MediaError(
        f"The model did not answer in the form asked for, {attempts} times.",
        received=repr(answer[:200]),
        expected=f'{{"{ANSWER_KEY}": "..."}}',
        fix="take a larger model, or write another instruction",
    )
