"""What one cell means: a number, a pass or a fail, several repeats, nothing, or an error."""

from __future__ import annotations

import hashlib
import math
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ratchet.datasets.values import canonical
from ratchet.errors import DatasetError
from ratchet.records import Json

PASSES = frozenset({"true", "yes", "pass", "passed", "correct", "t", "y"})
FAILS = frozenset({"false", "no", "fail", "failed", "incorrect", "wrong", "f", "n"})
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "<na>"})
NO_ERROR = frozenset(
    {
        *MISSING,
        "0",
        "0.0",
        "false",
        "no",
        "ok",
        "success",
        "succeeded",
        "[]",
        "{}",
        *map(str, range(200, 300)),
        "200.0",
    }
)
"""What stands in an error column where there was none."""

_WITH_UNIT = re.compile(
    r"[$€£¥]\s*[-+]?[\d.,]+\w*|[-+]?[\d.,]*\d\s*(?:%|[µa-zA-Z$€£¥][\w$€£¥/%]{0,11})|[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
)
_DURATIONS = {"_ms": 1e-3, "_us": 1e-6, "_ns": 1e-9, "_millis": 1e-3, "_milliseconds": 1e-3}


def number_of(cell: Json) -> tuple[float, bool]:
    """The number (NaN: missing) and whether it was written as a word such as `pass`.

    Raises:
        ValueError: It is none; the message says what was expected.
    """
    kind = type(cell)
    if kind is float or kind is int:
        value = float(cell)
        if math.isinf(value):
            raise ValueError("expected a finite number")
        return value, False
    if cell is None:
        return math.nan, False
    if kind is bool:
        return float(cell), True
    if kind is not str:
        raise ValueError(f"expected a number, found a {kind.__name__}")
    return _number_in(cell)


def _number_in(text: str) -> tuple[float, bool]:
    try:
        value = float(text)
    except ValueError:
        return _word(text)
    if value != value:
        return math.nan, False
    if math.isinf(value) or "_" in text:
        raise ValueError("expected a finite number in digits")
    return value, False


def _word(text: str) -> tuple[float, bool]:
    word = text.strip().lower()
    if word in PASSES:
        return 1.0, True
    if word in FAILS:
        return 0.0, True
    if word in MISSING:
        return math.nan, False
    if len(word) < 60 and _WITH_UNIT.fullmatch(text.strip()):
        raise ValueError(
            "expected a plain number, without unit or thousands separator: seconds as 1.2, dollars as 0.03, shares as 0.95"
        )
    raise ValueError("expected a number, or a pass or fail written as true/false, yes/no, pass/fail or 1/0")


def items_of(cell: Json, *, in_text: bool = True) -> list[Any] | None:
    """The repeats in a cell that holds a list, written as JSON or as Python does; None where it holds one value.

    >>> items_of("[0, True, 1.0]"), items_of([1, 0]), items_of("0.5")
    (['0', 'True', '1.0'], [1, 0], None)
    """
    if type(cell) is list:
        return cast("list[Any]", cell)
    if in_text and type(cell) is str and cell[:1] == "[" and cell.rstrip()[-1:] == "]":
        inside = cell.strip()[1:-1].strip()
        return [item.strip().strip("'\"") for item in inside.split(",")] if inside else []
    return None


def is_error(cell: Json) -> bool:
    """Whether an error column says that there was one."""
    if cell is None or cell is False:
        return False
    if cell is True:
        return True
    if isinstance(cell, str):
        return cell.strip().lower() not in NO_ERROR
    return cell != 0 and not 200 <= cell < 300 if isinstance(cell, (int, float)) else bool(cell)


def error_kind(cell: Json) -> str:
    """A short name for what an error column says."""
    if isinstance(cell, dict):
        found = cast("dict[str, Json]", cell)
        cell = next((found[key] for key in ("kind", "type", "code", "message") if found.get(key)), "error")
    text = " ".join("".join(c if c.isprintable() else " " for c in str(cell)).split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def scale_of(fact: str, column: str) -> float:
    """What a column's numbers are multiplied by: a time in `latency_ms` is read as milliseconds."""
    if fact not in ("latency_s", "ttft_s"):
        return 1.0
    return next((scale for end, scale in _DURATIONS.items() if column.lower().endswith(end)), 1.0)


def digest_of(cell: Json) -> int:
    """64 bits that stand for this content, equal for equal content; 0 for nothing.

    A number and the text that says it are equal: one file may be CSV and another JSON.
    """
    text = cell if type(cell) is str else _as_text(cell)
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) or 1
        if text
        else 0
    )


def content_of(row: Mapping[str, Json], columns: Sequence[str]) -> int:
    """64 bits that stand for the content of these cells."""
    return digest_of("\x1f".join([_cell_text(row, column) for column in columns]) or "\x1f")


def _cell_text(row: Mapping[str, Json], column: str) -> str:
    cell = row[column] if column in row else cell_at(row, column)
    return cell if type(cell) is str else _as_text(cell)


def cell_at(row: Mapping[str, Json], column: str, default: Json = None) -> Json:
    """The cell of this column; dots reach into objects where no column has the whole name."""
    value = row.get(column, _ABSENT)
    if value is not _ABSENT:
        return value
    if "." not in column:
        return default
    value = row
    for step in column.split("."):
        if not isinstance(value, dict) or step not in value:
            return default
        value = value[step]
    return value


_ABSENT: Any = object()


def _as_text(cell: Json) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, (bool, int, float)):
        return str(cell).lower()
    return canonical(cell).decode()


@dataclass(slots=True)
class Kind:
    """What one metric is in all its arms: passes and fails, or numbers; with the first cell that says so."""

    word: DatasetError | None = None
    number: DatasetError | None = None

    @property
    def is_bool(self) -> bool:
        """Whether every value is a pass or a fail: words, or nothing but 1 and 0."""
        return self.number is None

    def check(self) -> None:
        """Refuse a column that holds words and other numbers."""
        if self.word is not None and self.number is not None:
            error = self.number
            raise DatasetError(
                f"found {error.value!r}, but line {self.word.line} says {self.word.value!r}; "
                "expected passes and fails in all rows, or numbers in all",
                file=error.file,
                line=error.line,
                column=error.column,
                value=error.value,
            )


@dataclass(slots=True)
class Metric:
    """One arm's values of one metric, a value a row."""

    name: str
    kind: Kind
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, cell: Json, place: Place, *, scale: float = 1.0) -> None:
        """Append what this cell says."""
        try:
            value, is_word = number_of(cell)
        except ValueError as error:
            raise place.error(str(error), cell) from None
        if is_word:
            if self.kind.word is None:
                self.kind.word = place.error("", cell)
        elif value not in (0.0, 1.0) and value == value and self.kind.number is None:
            self.kind.number = place.error("", cell)
        self.values.append(value * scale if scale != 1.0 else value)


@dataclass(slots=True)
class Place:
    """Where a cell stands."""

    file: Path
    line: int = 0
    column: str = ""

    def error(self, message: str, cell: Json) -> DatasetError:
        """An error about this cell."""
        shown = repr(cell)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return DatasetError(
            f"found {shown}; {message}" if message else "",
            file=self.file,
            line=self.line,
            column=self.column,
            value=cell,
        )
