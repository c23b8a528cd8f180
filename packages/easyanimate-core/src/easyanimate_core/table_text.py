"""Texts of tables and lists that people typed or spreadsheets wrote: their encoding, and what separates columns."""

from __future__ import annotations

_DELIMITERS = ",;\t"
"""Spreadsheets of half of Europe write semicolons."""


def decode_text(data: bytes) -> str:
    """The text of a file in UTF-8 or UTF-16, with a byte order mark or without.

    Raises:
        UnicodeDecodeError: It is in another encoding.
    """
    return data.decode(_tell_encoding(data))


def find_delimiter(text: str) -> str:
    """What separates the columns of a table, by its first line that is not empty."""
    header = next((line for line in text.split("\n") if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _tell_encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a mark: the other half of a Latin letter is zero.
    if data[1:2] == b"\0" and data[:1] != b"\0":
        return "utf-16-le"
    if data[:1] == b"\0" and data[1:2] not in (b"", b"\0"):
        return "utf-16-be"
    return "utf-8-sig"
