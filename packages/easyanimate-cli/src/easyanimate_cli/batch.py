"""Batch files: JSON lines, CSV with a header, or a prompt on each line; in UTF-8 or UTF-16, with any line ends."""

from __future__ import annotations

import csv
import io
import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from easyanimate_core.config import convert
from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.table_text import decode_text, find_delimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from easyanimate_core.options import Setting

MAX_BYTES = 16_000_000
"""Longest batch file."""

ACCEPTED = (
    'JSON lines such as {"prompt": "a red circle", "seed": 7}; CSV whose first line names options, such as '
    "prompt,seed; or a prompt on each line"
)
"""What a batch file can be."""

Line = tuple[int, "Callable[[], dict[str, Any]]"]
"""Number of a line, from 1, and what gives the values of its options, or raises `RequestError`."""

_Known: TypeAlias = "Mapping[str, tuple[str, Setting]]"
"""Options by their name, with the name of their field."""


def read_lines(path: Path, options: Mapping[str, Setting]) -> Iterator[Line]:
    """Read a batch file.

    Args:
        path: JSON lines; CSV where it ends in .csv or .tsv or its first line names options; else a prompt a line.
            Empty lines are passed over. Only line feeds (and CR LF) end a line.
        options: What a line can say, by the names of fields.

    Raises:
        RequestError: The file cannot be read, or the header of a CSV names no option.
    """
    text = _read_text(path)
    known = {setting.name: (name, setting) for name, setting in options.items()}
    yield from _READERS[_tell_kind(path, text, known)](text, known)


def _read_text(path: Path) -> str:
    """The text of a file, whichever of the usual encodings it has."""
    if not path.is_file():  # a FIFO or a device might never end
        there = "That is no file." if os.path.lexists(path) else "There is no such file."
        raise RequestError(f"The batch file cannot be read: {there}", received=path, expected=ACCEPTED)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(
            f"The batch file cannot be read: {error.strerror}", received=path, expected=ACCEPTED
        ) from error
    if len(content) > MAX_BYTES:
        raise RequestError("The batch file is too long.", received=path, expected=f"at most {MAX_BYTES:,} bytes")
    try:
        return decode_text(content)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise RequestError(
            f"The batch file {path} is not written in UTF-8.",
            received=f"line {line}, column {column}: byte 0x{content[error.start]:02x}",
            expected="UTF-8, or UTF-16 with a byte order mark",
            fix="save it as UTF-8",
        ) from error


def _tell_kind(path: Path, text: str, known: _Known) -> str:
    first = next((line for line in text.split("\n") if line.strip()), "")
    ending = path.suffix.lower()
    if ending in (".jsonl", ".json", ".ndjson") or first.lstrip().startswith("{"):
        return "json"
    words = {
        word.strip().strip('"').replace("-", "_") for word in first.replace(";", ",").replace("\t", ",").split(",")
    }
    if ending in (".csv", ".tsv") or (len(words) > 1 and words <= set(known)):
        return "csv"
    return "text"


def _find(word: str, known: _Known) -> tuple[str, Setting]:
    key = word.strip().replace("-", "_")
    if key not in known:
        raise RequestError(f"unknown option {word}", expected=", ".join(known), fix=near_misses(key, known))
    return known[key]


def _read_prompts(text: str, _: _Known) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if prompt := line.strip():
            yield number, partial(dict[str, Any], prompt=prompt)


def _read_json_lines(text: str, known: _Known) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, partial(_read_json, line, known)


def _read_json(line: str, known: _Known) -> dict[str, Any]:
    """The values of a line, by the names of fields."""
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


def _read_csv(text: str, known: _Known) -> Iterator[Line]:
    """Rows below a header of option names; an empty cell leaves an option open."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True)
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
            f"The batch file is no CSV: {error}", received=f"line {rows.line_num}", expected=ACCEPTED
        ) from error


def _read_header(number: int, row: list[str], known: _Known) -> list[tuple[str, Setting]]:
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
