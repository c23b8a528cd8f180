"""The one family of errors: each says what was received, what is accepted and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


_MOST = 4000
"""Characters of one part of an error: what somebody else wrote may be of any length, and an error is one screen."""


class EasyAnimateError(Exception):
    """Base of every error that a user can mend.

    Args:
        message: What went wrong, in one sentence.
        received: The value that was given, where it helps.
        expected: The values that are accepted.
        fix: What to do next; a command where there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        received: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.message = message
        self.received = received
        self.expected = expected
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """All parts on lines of their own, empty ones left out; what others wrote cannot steer or fill a terminal."""
        lines = [_shorten(self.message)]
        if self.received is not None:
            lines.append(f"  received: {_shorten(self.received)}")
        if self.expected is not None:
            lines.append(f"  accepted: {_shorten(self.expected)}")
        if self.fix:
            lines.append(f"  to do:    {_shorten(self.fix)}")
        return printable("\n".join(lines), keep="\n\t")


def _shorten(part: object) -> str:
    text = str(part)
    return text if len(text) <= _MOST else f"{text[:_MOST]}... ({len(text):,} characters)"


class RequestError(EasyAnimateError):
    """A request that cannot be fulfilled as it stands: size, frames, sampler, images."""


class WeightsError(EasyAnimateError):
    """Weights that are missing, damaged, of another version, or do not fit."""


class PluginError(EasyAnimateError):
    """A plugin that is missing, broken or in conflict with another."""


class MediaError(EasyAnimateError):
    """A video or image file that cannot be read or written."""


def near_misses(name: str, known: Iterable[str]) -> str | None:
    """A sentence that names the known names closest to `name`, or None when nothing is near."""
    import difflib

    by_lower = {one.lower(): one for one in known}
    close = [by_lower[one] for one in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
    return f"did you mean {' or '.join(close)}?" if close else None
