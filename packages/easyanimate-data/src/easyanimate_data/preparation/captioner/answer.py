"""What of a model's answer is text about a clip: its thoughts and introductions are not, and a refusal is none."""

from __future__ import annotations

import re

from easyanimate_core.errors import MediaError

MOST_TOKENS = 8
"""An answer that was cut off is asked for again with twice the tokens, up to this many times those of the settings."""

_THOUGHT = re.compile(r"[<\u25c1\[](/?)(?:think|thinking|thought|thoughts|reasoning)[>\u25b7\]]", re.IGNORECASE)
"""Where thoughts begin and end, as models that reason mark them."""

_MARKUP = " \t\r\n*#>_"

_POLITE = ("sure", "certainly", "of course", "absolutely", "okay", "ok", "great", "\u597d\u7684", "\u5f53\u7136")
_BEGINNINGS = (
    "here is",
    "here are",
    "here's",
    "below is",
    "the following is",
    "\u4ee5\u4e0b\u662f",
    "\u4e0b\u9762\u662f",
)
_SUBJECTS = ("caption", "description", "answer", "video", "clip", "prompt", "json")
_CHINESE_SUBJECTS = ("\u63cf\u8ff0", "\u6807\u9898", "\u5b57\u5e55", "\u63d0\u793a\u8bcd")
_LONGEST_INTRODUCTION = 160

_POLITE_START = re.compile(
    rf"(?:{'|'.join(_POLITE)})(?: thing)?\s*(?:[!.,\uff01\u3002\uff0c]|(?={'|'.join(_BEGINNINGS)}))\s*", re.IGNORECASE
)
"""A polite word that is no part of a sentence, as it is in "Great white sharks" and "Sure-footed goats"."""

_LABEL = re.compile(
    r"(?:the )?(?:detailed |video |final |rewritten |new )*(?:caption|description|answer|prompt)"
    r"(?: (?:of|for) (?:the|this) [\w ]{1,40})?"
    rf"|[\w]{{0,8}}(?:{'|'.join(_CHINESE_SUBJECTS)})",
    re.IGNORECASE,
)
"""Words before a colon that only say what follows: "Caption:"."""

_OFFERS = (
    "let me know",
    "i hope this",
    "i hope that",
    "feel free",
    "would you like",
    "if you'd like",
    "if you would like",
)
"""How last lines begin that speak to the user."""

_REFUSALS = tuple(
    [
        f"{who} {what}"
        for who in ("i'm", "i am", "i was")
        for what in ("sorry", "so sorry", "very sorry", "afraid", "unable", "not")
    ]
    + [
        f"i {word}"
        for word in (
            "can't",
            "cannot",
            "can not",
            "couldn't",
            "could not",
            "won't",
            "will not",
            "don't",
            "do not",
            "apologize",
            "apologise",
            "must apologize",
        )
    ]
    + [
        "sorry,",
        "sorry.",
        "sorry but",
        "my apologies",
        "apologies,",
        "as an ai",
        "as a language model",
        "as a large language",
        "as a text-based",
    ]
    + [
        "there is no video",
        "there is no image",
        "there's no video",
        "there's no image",
        "no video was",
        "no image was",
        "no images were",
        "no frames were",
    ]
    + [
        "\u62b1\u6b49",
        "\u5f88\u62b1\u6b49",
        "\u975e\u5e38\u62b1\u6b49",
        "\u5bf9\u4e0d\u8d77",
        "\u6211\u65e0\u6cd5",
        "\u6211\u4e0d\u80fd",
        "\u4f5c\u4e3a\u4e00\u4e2aai",
        "\u4f5c\u4e3aai",
        "\u4f5c\u4e3a\u4e00\u4e2a\u4eba\u5de5\u667a\u80fd",
    ]
)
"""How answers begin that are none, in lower case; a description of a clip speaks of no "I"."""

_QUOTES = {'"': '"', "\u201c": "\u201d", "'": "'", "\u300c": "\u300d"}


def drop_thoughts(answer: str) -> str:
    """What follows the thoughts of a model that reasons; empty where it only thought."""
    marks = list(_THOUGHT.finditer(answer))
    if not marks:
        return answer.strip()
    # The beginning may stand in the prompt, so that the answer has the end alone; a beginning alone has no answer yet.
    return answer[marks[-1].end() :].strip() if marks[-1][1] else ""


def read_description(answer: str) -> str | MediaError:
    """The description in an answer, without thoughts, introduction, offers and quotes around it.

    Returns:
        The text, or the error where the model refused or wrote nothing but these.
    """
    text = drop_thoughts(answer)
    while (shorter := _drop_introduction(text)) != text:
        text = shorter
    text = _drop_offer(text)
    for mark in ("***", "**", "*", "__"):
        if text.count(mark) == len((mark, mark)) and text.startswith(mark) and text.endswith(mark):
            text = text.removeprefix(mark).removesuffix(mark).strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if re.sub(r"^unfortunately,? ", "", _simplify(text)).startswith(_REFUSALS):
        return MediaError(
            "The model refused to describe the clip.",
            received=repr(text[:200]),
            expected="a description",
            fix="take another model or another instruction",
        )
    if not text:
        return MediaError(
            "The model wrote no description.",
            received=repr(answer[:200]),
            expected="a description",
            fix="take another model",
        )
    return text


def _simplify(text: str) -> str:
    """The beginning of a text in lower case, without markup, with straight apostrophes."""
    return text[: 2 * _LONGEST_INTRODUCTION].lstrip(_MARKUP).lower().replace("\u2019", "'")


def _drop_introduction(text: str) -> str:
    """A text without what only says that it follows: "Sure!", "Here is a caption:", "**Caption:**"."""
    first = re.match(rf"[^:\uff1a]{{1,{_LONGEST_INTRODUCTION}}}[:\uff1a]", text)
    if first:
        head, rest = _simplify(first[0][:-1]).rstrip(_MARKUP), text[first.end() :].lstrip(_MARKUP)
        introduces = (head.startswith(_BEGINNINGS) or _POLITE_START.match(head)) and (
            any(word in head for word in (*_SUBJECTS, *_CHINESE_SUBJECTS)) or text[first.end() :].startswith("\n")
        )
        if introduces or _LABEL.fullmatch(head):
            return rest
    polite = _POLITE_START.match(text)
    return text[polite.end() :] if polite else text


def _drop_offer(text: str) -> str:
    """A text without a last paragraph that speaks to the user."""
    before, _, last = text.rpartition("\n")
    return before.strip() if before and _simplify(last).startswith(_OFFERS) else text


def cut_off(text: str, num_tokens: int) -> MediaError:
    """The error of an answer that ended for want of tokens."""
    return MediaError(
        "The answer was cut off.",
        received=f"{num_tokens} tokens, ending {text[-80:]!r}",
        expected="a whole answer",
        fix=f"raise options.max_tokens above {num_tokens}",
    )
