"""Text of others on a terminal: what would steer it, or cannot be written, is shown as an escape."""

from __future__ import annotations

import re

_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls, among them the escape that begins colours, titles and cursor moves
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # line ends that editors alone see, and the turning of reading directions
    "\ud800-\udfff]"  # halves of surrogate pairs: no encoding has them
)


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with `\x1b` and the like where it has characters that steer a terminal or cannot be written.

    Args:
        text: From a file, a name of a file, a server.
        keep: Characters that stay, such as a newline where the text may have several lines.
    """
    return _STEERING.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
