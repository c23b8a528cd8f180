"""The words that weights were trained on, where they are so few that a prompt can miss them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
"""A word is a run of letters and digits, or one Chinese character."""

_NAMED = 8
"""Unknown words that a line names."""


@dataclass(frozen=True)
class Vocabulary:
    """Words of a prompt that mean something to weights: "prompts" in `easyanimate.json`.

    Args:
        about: What the weights can show, such as "moving shapes".
        words: All words that they know, in lower case.
    """

    about: str
    words: frozenset[str]

    def list_unknown(self, prompt: str) -> list[str]:
        """The words of a prompt that are not known, each once, as they stand there."""
        return list(dict.fromkeys(word for word in _WORDS.findall(prompt) if word.lower() not in self.words))

    def warn(self, prompt: str) -> str | None:
        """A line that names the unknown words of a prompt; None when there are none."""
        unknown = self.list_unknown(prompt)
        if not unknown:
            return None
        named = ", ".join(unknown[:_NAMED]) + (" and others" if len(unknown) > _NAMED else "")
        return f"These weights know {self.about}; unknown to them: {named}."
