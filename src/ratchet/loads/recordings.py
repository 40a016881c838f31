"""Recorded traffic read from files: arrival times, and lengths of prompts and answers."""

from __future__ import annotations

import csv
import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

from ratchet.errors import ConfigError

TIME_COLUMNS = (
    "offset_s",
    "timestamp",
    "time",
    "arrived_at",
    "arrival_time",
    "arrival",
    "created_at",
    "start_time",
    "start",
)
"""Columns, in any spelling of case, that hold arrival times; with `_ms` added they hold milliseconds."""
INPUT_COLUMNS = (
    "input_tokens",
    "prompt_tokens",
    "contexttokens",
    "request tokens",
    "input_length",
    "num_prefill_tokens",
)
OUTPUT_COLUMNS = (
    "output_tokens",
    "completion_tokens",
    "generatedtokens",
    "response tokens",
    "output_length",
    "num_decode_tokens",
)
MOST_LENGTHS = 1_000_000
MOST_TOKENS = 10_000_000

Lines: TypeAlias = Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How long one prompt and its answer were, in tokens."""

    input_tokens: int
    output_tokens: int


def load_times(path: str | Path) -> list[float]:
    """Arrival times in seconds from a file: CSV or JSONL with a time column (TIME_COLUMNS), or one a line.

    Times are numbers (seconds; `…_ms` columns are milliseconds) or ISO 8601 dates.

    Raises:
        ConfigError: The file can't be read, has no such column, or a time is none; names file and line.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return list(_read_times(lines, file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}", file=file) from None


def _read_times(lines: Iterable[str], file: Path) -> Iterator[float]:
    rows = rows_of(lines, file)
    column, scale = "", 1.0
    for number, row in rows:
        if not isinstance(row, Mapping):
            yield _seconds(row, file, number, "")
            continue
        if not column:
            column, scale = _time_column(row, file)
        yield _seconds(row.get(column), file, number, column) * scale


def rows_of(lines: Iterable[str], file: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of JSONL or CSV with a header; a plain list of values gives the values.

    Raises:
        ConfigError: A line is not JSON where the file is JSONL.
    """
    read = iter(lines)
    first = next((line for line in read if line.strip()), "")
    if first.lstrip().startswith("{"):
        for number, line in enumerate(_then(first, read), 1):
            if line.strip():
                yield number, _json(line, file, number)
        return
    names = next(csv.reader([first]), [])
    if len(names) == 1 and not _is_name(names[0]):
        for number, line in enumerate(_then(first, read), 1):
            if line.strip():
                yield number, line.strip()
        return
    for number, values in enumerate(csv.reader(read), 2):
        if values:
            yield number, dict(zip(names, values, strict=False))


def _then(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _json(line: str, file: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}", file=file, line=number) from None


def _is_name(text: str) -> bool:
    """Whether this cell is a column's name, not a value."""
    try:
        _as_time(text)
    except ValueError:
        return True
    return False


def _time_column(row: Mapping[str, Any], file: Path) -> tuple[str, float]:
    by_name = {name.strip().lower(): name for name in row}
    for name in TIME_COLUMNS:
        if name in by_name:
            return by_name[name], 1.0
        milliseconds = f"{name.removesuffix('_s')}_ms"
        if milliseconds in by_name:
            return by_name[milliseconds], 0.001
    raise ConfigError(
        f"has no column of arrival times; expected one of {', '.join(TIME_COLUMNS)}, found {', '.join(row)}",
        file=file,
    )


def _seconds(value: object, file: Path, line: int, column: str) -> float:
    try:
        return _as_time(value)
    except ValueError:
        raise ConfigError(
            f"{value!r} is not a time; expected seconds or an ISO 8601 date",
            file=file,
            line=line,
            key=column or None,
        ) from None


def _as_time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)
    try:
        number = float(value)
    except ValueError:
        moment = datetime.datetime.fromisoformat(_trimmed(str(value)))
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _trimmed(text: str) -> str:
    """The date with at most the six digits of a second that Python reads; published traces have seven."""
    head, dot, rest = text.strip().partition(".")
    digits = "".join(takewhile(str.isdigit, rest))
    return f"{head}{dot}{digits[:6]}{rest[len(digits) :]}" if dot else head


def load_lengths(path: str | Path) -> list[Sizes]:
    """Lengths of recorded prompts and answers from CSV or JSONL, the two of a row together (INPUT_COLUMNS,
    OUTPUT_COLUMNS). Rows without an answer (0 tokens) are left out.

    Raises:
        ConfigError: The file can't be read, lacks a column, or a length is no whole number; names file and line.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = list(_read_lengths(lines, file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}", file=file) from None
    if not found or len(found) > MOST_LENGTHS:
        raise ConfigError(f"{len(found):,} pairs of lengths; expected 1 to {MOST_LENGTHS:,}", file=file)
    return found


def _read_lengths(lines: Lines, file: Path) -> Iterator[Sizes]:
    names: tuple[str, str] | None = None
    for number, row in rows_of(lines, file):
        if not isinstance(row, Mapping):
            raise ConfigError(f"{row!r}; expected columns of input and output tokens", file=file, line=number)
        if names is None:
            names = _length_column(row, INPUT_COLUMNS, file), _length_column(row, OUTPUT_COLUMNS, file)
        given, made = (_length(row.get(name), file, number, name) for name in names)
        if made > 0:
            yield Sizes(input_tokens=max(given, 1), output_tokens=made)


def _length_column(row: Mapping[str, Any], known: tuple[str, ...], file: Path) -> str:
    by_name = {name.strip().lower(): name for name in row}
    for name in known:
        if name in by_name:
            return by_name[name]
    raise ConfigError(
        f"has no column of lengths; expected one of {', '.join(known)}, found {', '.join(row)}", file=file
    )


def _length(value: object, file: Path, line: int, column: str) -> int:
    try:
        number = float(str(value)) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not (0 <= number <= MOST_TOKENS and number == int(number)):
        raise ConfigError(f"{value!r}; expected tokens, a whole number", file=file, line=line, key=column)
    return int(number)
