"""Batch files: JSON lines, CSV with a header, or a prompt on each line; in UTF-8 or UTF-16, with any line ends."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core.config import convert
from easyanimate_core.errors import RequestError, near_misses

from easyanimate_cli.options import list_options, make_clip, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from easyanimate_core.options import Setting

    from easyanimate_cli.options import ClipOptions

MAX_BYTES = 16_000_000
"""Longest batch file."""

_SHOWN = 5
"""Mistakes that are named."""

_DELIMITERS = ",;\t"
"""Of columns; spreadsheets of half of Europe write semicolons."""

_EXPECTED = (
    'JSON lines such as {"prompt": "a red circle", "seed": 7}; CSV whose first line names options, such as '
    "prompt,seed; or a prompt on each line"
)

_Line = tuple[int, "Callable[[], dict[str, Any]]"]
"""Number of a line, from 1, and what reads the values of its options, by the names of `list_options`."""


@dataclass
class _Mistakes:
    """What is wrong with the lines of a batch file."""

    lines: list[str] = field(default_factory=list[str])

    def add(self, number: int, error: RequestError) -> None:
        """Note what is wrong with a line."""
        self.lines.append(f"line {number}: {error}".replace("\n  ", "\n      "))


def read_batch(path: Path, base: Mapping[str, Any]) -> list[ClipOptions]:
    """Read one clip per line; what a line leaves out comes from `base`.

    Args:
        path: JSON lines, CSV where it ends in .csv or .tsv or its first line names options, else a prompt a line.
            Empty lines are passed over. Only line feeds (and CR LF) end a line.
        base: Values of options from the command line.

    Raises:
        RequestError: Naming every line that cannot be used, and the column.
    """
    text = _read_text(path)
    mistakes = _Mistakes()
    clips: list[ClipOptions] = []
    for number, read in _READERS[_tell_kind(path, text)](text):
        try:
            clips.append(make_clip(merge(base, read()), line=number))
        except RequestError as error:
            mistakes.add(number, error)
    if mistakes.lines or not clips:
        more = len(mistakes.lines) - _SHOWN
        raise RequestError(
            f"The batch file {path} cannot be used; nothing was made.",
            received="\n".join([*mistakes.lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]) or "no lines",
            expected=_EXPECTED,
        )
    return clips


def _read_text(path: Path) -> str:
    """The text of a file, whichever of the usual encodings it has."""
    if not path.is_file():  # a FIFO or a device might never end
        there = "That is no file." if os.path.lexists(path) else "There is no such file."
        raise RequestError(f"The batch file cannot be read: {there}", received=path, expected=_EXPECTED)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(
            f"The batch file cannot be read: {error.strerror}", received=path, expected=_EXPECTED
        ) from error
    if len(content) > MAX_BYTES:
        raise RequestError("The batch file is too long.", received=path, expected=f"at most {MAX_BYTES:,} bytes")
    try:
        return content.decode(_tell_encoding(content))
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise RequestError(
            f"The batch file {path} is not written in UTF-8.",
            received=f"line {line}, column {column}: byte 0x{content[error.start]:02x}",
            expected="UTF-8, or UTF-16 with a byte order mark",
            fix="save it as UTF-8",
        ) from error


def _tell_encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a mark: the other half of a Latin letter is zero.
    if content[1:2] == b"\0" and content[:1] != b"\0":
        return "utf-16-le"
    if content[:1] == b"\0" and content[1:2] != b"\0":
        return "utf-16-be"
    return "utf-8-sig"


def _tell_kind(path: Path, text: str) -> str:
    first = next((line for line in text.split("\n") if line.strip()), "")
    ending = path.suffix.lower()
    if ending in (".jsonl", ".json", ".ndjson") or first.lstrip().startswith("{"):
        return "json"
    words = {
        word.strip().strip('"').replace("-", "_") for word in first.replace(";", ",").replace("\t", ",").split(",")
    }
    if ending in (".csv", ".tsv") or (len(words) > 1 and words <= set(_known())):
        return "csv"
    return "text"


def _known() -> dict[str, tuple[str, Setting]]:
    """Options by their name, with the name of their field."""
    return {setting.name: (name, setting) for name, setting in list_options().items()}


def _find(word: str, known: Mapping[str, tuple[str, Setting]]) -> tuple[str, Setting]:
    key = word.strip().replace("-", "_")
    if key not in known:
        raise RequestError(f"unknown option {word}", expected=", ".join(known), fix=near_misses(key, known))
    return known[key]


def _read_prompts(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if prompt := line.strip():
            yield number, partial(dict[str, Any], prompt=prompt)


def _read_json_lines(text: str) -> Iterator[_Line]:
    known = _known()
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, partial(_read_json, line, known)


def _read_json(line: str, known: Mapping[str, tuple[str, Setting]]) -> dict[str, Any]:
    """The values of a line, by the names of `list_options`."""
    try:
        parsed: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise RequestError(
            f"not JSON: {error.msg} (column {error.colno})", received=line[max(error.pos - 40, 0) : error.pos + 40]
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise RequestError(f"not JSON that can be read: {type(error).__name__}", received=line[:80]) from error
    if not isinstance(parsed, dict):
        raise RequestError("not an object: names and values in braces", received=line[:80])
    values: dict[str, Any] = {}
    for word, value in cast("dict[str, Any]", parsed).items():
        name, setting = _find(word, known)
        if value is not None:
            listed = [value] if setting.is_list and isinstance(value, str) else value
            values[name] = convert(listed, setting.hint, setting.name)
    return values


def _read_csv(text: str) -> Iterator[_Line]:
    """Rows below a header of option names; an empty cell leaves an option open."""
    header_line = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    known = _known()
    names: list[tuple[str, Setting]] | None = None
    begin = 1
    try:
        for row in rows:
            number, begin = begin, rows.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names = _read_header(number, row, known)
            else:
                yield number, partial(_read_row, row, names)
    except csv.Error as error:
        raise RequestError(
            f"The batch file is no CSV: {error}", received=f"line {rows.line_num}", expected=_EXPECTED
        ) from error


def _read_header(number: int, row: list[str], known: Mapping[str, tuple[str, Setting]]) -> list[tuple[str, Setting]]:
    names: list[tuple[str, Setting]] = []
    for column, word in enumerate(row, start=1):
        try:
            found = _find(word, known)
        except RequestError as error:
            raise RequestError(
                f"The header names no option in line {number}, column {column}.",
                received=repr(word),
                expected=error.expected,
                fix=error.fix,
            ) from error
        if found in names and not found[1].is_list:
            raise RequestError(f"The header names {word} twice (line {number}, column {column}).")
        names.append(found)
    return names


def _read_row(row: list[str], names: list[tuple[str, Setting]]) -> dict[str, Any]:
    if len(row) > len(names):
        raise RequestError(
            f"column {len(names) + 1}: there is no header for it",
            received=row[len(names)],
            fix="put text with commas into quotes",
        )
    values: dict[str, Any] = {}
    for column, (cell, (name, setting)) in enumerate(zip(row, names, strict=False), start=1):
        if not cell.strip():
            continue
        try:
            if setting.is_list:
                values[name] = (*values.get(name, ()), *setting.read([cell]))
            else:
                values[name] = setting.read(cell)
        except RequestError as error:
            raise RequestError(
                f"column {column}: {error.message}", received=error.received, expected=error.expected
            ) from error
    return values


_READERS = {"json": _read_json_lines, "csv": _read_csv, "text": _read_prompts}
