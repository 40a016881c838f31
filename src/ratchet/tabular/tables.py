"""Rows become columns: one table an arm, all on one register of examples."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ratchet.datasets.rows import _id, _label
from ratchet.errors import DatasetError, PairingError, did_you_mean
from ratchet.evidence import Floats
from ratchet.records import Json
from ratchet.tabular.cells import (
    Kind,
    Metric,
    Place,
    cell_at,
    digest_of,
    error_kind,
    is_error,
    items_of,
    number_of,
    scale_of,
)

if TYPE_CHECKING:
    from ratchet.tabular.answers import Judge

Row: TypeAlias = dict[str, Json]
_MAX_ERROR_KINDS = 20
_ABSENT: Any = object()


@dataclass(slots=True)
class Examples:
    """Every example seen, in the order of first sight, with what must agree between arms."""

    index: dict[str, int] = field(default_factory=dict[str, int])
    groups: list[str | None] = field(default_factory=list[str | None])
    contents: array[int] = field(default_factory=lambda: array("Q"))
    slices: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    seen_at: array[int] = field(default_factory=lambda: array("q"))
    """Line of first sight."""
    files: list[Path] = field(default_factory=list[Path])
    seen_in: array[int] = field(default_factory=lambda: array("H"))
    slice_conflicts: Counter[str] = field(default_factory=Counter[str])
    _texts: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, id: str, content: int, group: str | None, slices: Mapping[str, str], place: Place) -> int:
        """The example's index.

        Raises:
            PairingError: It was seen with other content or in another group.
        """
        known = self.index.get(id)
        if known is None:
            self.index[id] = known = len(self.index)
            self.groups.append(group if group is None else self._texts.setdefault(group, group))
            self.contents.append(content)
            self.seen_at.append(place.line)
            if not self.files or self.files[-1] != place.file:
                self.files.append(place.file)
            self.seen_in.append(len(self.files) - 1)
            for name, text in slices.items():
                self.slices.setdefault(name, []).append(self._texts.setdefault(text, text))
            return known
        if content and self.contents[known] and self.contents[known] != content:
            raise PairingError(
                f"example {id!r} has other content {self._where(known, place)}; the same id must be the same question. "
                "If only its wording may differ, leave the content out: --ignore-content"
            )
        self.contents[known] = self.contents[known] or content
        if group != self.groups[known]:
            raise PairingError(
                f"example {id!r} is in group {self.groups[known]!r} and in group {group!r} {self._where(known, place)}; "
                "expected one group an example"
            )
        for name, text in slices.items():
            if self.slices[name][known] != text:
                self.slice_conflicts[name] += 1
        return known

    def _where(self, known: int, place: Place) -> str:
        return f"at {self.files[self.seen_in[known]]}:{self.seen_at[known]} and at {place.file}:{place.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmColumns:
    """Which columns of a row are one arm's."""

    metrics: Mapping[str, str]
    """Metric or fact to column."""
    errors: tuple[str, ...] = ()
    refused: str | None = None
    cached: str | None = None
    text: str | None = None
    answer: str | None = None
    agreement: tuple[str, ...] = ()


@dataclass(slots=True)
class Table:
    """One arm's rows, in the order of the file."""

    name: str
    example: array[int] = field(default_factory=lambda: array("q"))
    repeat: array[int] = field(default_factory=lambda: array("q"))
    """Index into `repeats`."""
    line: array[int] = field(default_factory=lambda: array("q"))
    failed: bytearray = field(default_factory=bytearray)
    refused: bytearray = field(default_factory=bytearray)
    unparsable: bytearray = field(default_factory=bytearray)
    cached: bytearray = field(default_factory=bytearray)
    metrics: dict[str, Metric] = field(default_factory=dict[str, Metric])
    digests: dict[str, array[int]] = field(default_factory=dict[str, "array[int]"])
    """For agreement over repeats: "text", "answer" or a column, to what each row holds."""
    answers: list[Json] = field(default_factory=list[Json])
    repeats: dict[str, int] = field(default_factory=dict[str, int])
    error_kinds: Counter[str] = field(default_factory=Counter[str])
    files: list[Path] = field(default_factory=list[Path])

    def fail(self, kind: str) -> None:
        """Count a failed row."""
        known = kind in self.error_kinds or len(self.error_kinds) < _MAX_ERROR_KINDS
        self.error_kinds[kind if known else "other"] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one row says of one arm."""

    cells: Mapping[str, Json]
    """By metric."""
    text: Json
    answer: Json
    agree: Mapping[str, Json]
    """By column whose agreement is measured."""
    failure: str | None

    def lists(self) -> dict[str, list[Any]]:
        """The cells that hold repeats."""
        found = {name: items_of(cell) for name, cell in self.cells.items()}
        # an answer in text may be a list itself
        parts = {
            ".text": self.text,
            ".answer": self.answer,
            **{f".{n}": cell for n, cell in self.agree.items()},
        }
        found |= {name: items_of(cell, in_text=False) for name, cell in parts.items()}
        return {name: items for name, items in found.items() if items is not None}

    @staticmethod
    def length(lists: Mapping[str, list[Any]], place: Place) -> int:
        """How many repeats these lists hold.

        Raises:
            DatasetError: The lists have different lengths, or nothing in them.
        """
        lengths = {name.removeprefix("."): len(items) for name, items in lists.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise place.error(
                f"expected lists of one length, an item a repeat: {found}", next(iter(lists.values()))
            )
        length = next(iter(lengths.values()))
        if not length:
            raise place.error("expected at least one repeat in the list", [])
        return length

    def one(self, k: int, lists: Mapping[str, list[Any]]) -> Answered:
        """The repeat number `k`; what is no list belongs to every repeat."""

        def item(name: str, cell: Json) -> Json:
            return lists[name][k] if name in lists else cell

        return Answered(
            cells={name: item(name, cell) for name, cell in self.cells.items()},
            text=item(".text", self.text),
            answer=item(".answer", self.answer),
            agree={name: item(f".{name}", cell) for name, cell in self.agree.items()},
            failure=self.failure,
        )


@dataclass(slots=True)
class ArmReader:
    """Appends rows to one arm's table."""

    table: Table
    columns: ArmColumns
    kinds: dict[str, Kind]
    """Shared by all arms."""
    judge: Judge | None
    keep_digests: bool
    _scales: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        for name, column in self.columns.metrics.items():
            self.table.metrics[name] = Metric(name, self.kinds.setdefault(name, Kind()))
            self._scales[name] = scale_of(name, column)
        if self.keep_digests:
            texts = [
                name
                for name, column in (("text", self.columns.text), ("answer", self.columns.answer))
                if column
            ]
            if self.judge is not None and "answer" not in texts and self.columns.text:
                texts.append("answer")
            for name in (*texts, *self.columns.agreement):
                self.table.digests[name] = array("Q")

    def add(self, row: Row, example: int, id: str, repeat: str | None, expected: Json, place: Place) -> None:
        """One row of the file: one row of the table, or one for each repeat that its lists hold."""
        columns = self.columns
        answered = Answered(
            cells={name: cell_at(row, column) for name, column in columns.metrics.items()},
            text=cell_at(row, columns.text) if columns.text else None,
            answer=cell_at(row, columns.answer) if columns.answer else None,
            agree={name: cell_at(row, name) for name in columns.agreement},
            failure=self._failure(row),
        )
        lists = answered.lists()
        if not lists:
            self._append(answered, example, self._repeat(repeat or "0"), id, expected, place)
            return
        if repeat is not None:
            raise place.error(
                "expected one value: this row is one repeat, and a cell of it holds a list", repeat
            )
        for k in range(Answered.length(lists, place)):
            self._append(answered.one(k, lists), example, self._repeat(str(k)), id, expected, place)

    def _repeat(self, label: str) -> int:
        known = self.table.repeats
        return known.setdefault(label, len(known))

    def _failure(self, row: Row) -> str | None:
        """Why the row holds no answer; None where it does."""
        found = [cell for column in self.columns.errors if is_error(cell := cell_at(row, column))]
        return error_kind(found[0]) if found else None

    def _append(
        self, answered: Answered, example: int, repeat: int, id: str, expected: Json, place: Place
    ) -> None:
        table, kind, answer = self.table, answered.failure, answered.answer
        table.example.append(example)
        table.repeat.append(repeat)
        table.line.append(place.line)
        for name, cell in answered.cells.items():
            place.column = self.columns.metrics[name]
            # what stands beside an error is no measurement
            table.metrics[name].add(None if kind is not None else cell, place, scale=self._scales[name])
        if kind is None and self._is_empty(answered):
            kind = "missing"
        unparsable = False
        if self.judge is not None:
            answer, unparsable = self.judge(table, id, answered.text, answer, expected, kind)
        table.unparsable.append(unparsable)
        table.failed.append(kind is not None)
        if kind is not None:
            table.fail(kind)
        parts = {"text": answered.text, "answer": answer, **answered.agree}
        for name, digests in table.digests.items():
            digests.append(0 if kind is not None else digest_of(parts[name]))
        if self.columns.answer or self.columns.text:
            table.answers.append(None if kind is not None else answer)

    def _is_empty(self, answered: Answered) -> bool:
        """Whether the row holds nothing of what was mapped: nobody answered."""
        if self.columns.text or self.columns.answer:
            return answered.text is None and answered.answer is None
        if not answered.cells or self.columns.agreement:
            return False
        values = (self.table.metrics[name].values[-1] for name in answered.cells)
        return all(value != value for value in values)

    def flags(self, row: Row, place: Place, rows: int) -> None:
        """What the row says about the call as a whole, for the last `rows` rows of the table."""
        for column, flags in (
            (self.columns.refused, self.table.refused),
            (self.columns.cached, self.table.cached),
        ):
            value = column is not None and is_error(cell_at(row, column))
            flags.extend(bytes([value]) * rows)

    def append_numbers(
        self, name: str, values: Floats, has_word: bool, rows: Sequence[Row], lines: Sequence[int]
    ) -> None:
        """Append many values of one metric, read already; the kind of the metric is kept as `Metric.add` does."""
        metric, column = self.table.metrics[name], self.columns.metrics[name]
        kind = metric.kind
        if has_word and kind.word is None:
            at = next(n for n, row in enumerate(rows) if number_of(cell_at(row, column))[1])
            kind.word = self._first(column, rows, lines, at)
        if not has_word and kind.number is None:
            others = np.flatnonzero((values != 0.0) & (values != 1.0) & ~np.isnan(values))
            if others.size:
                kind.number = self._first(column, rows, lines, int(others[0]))
        scale = self._scales[name]
        metric.values.frombytes((values * scale if scale != 1.0 else values).tobytes())

    def _first(self, column: str, rows: Sequence[Row], lines: Sequence[int], at: int) -> DatasetError:
        place = Place(self.table.files[-1] if self.table.files else Path(), lines[at], column)
        return place.error("", cell_at(rows[at], column))


IdOf: TypeAlias = Callable[[Row, int, int], str]


def id_of(columns: tuple[str, ...], path: Path) -> IdOf:
    """A function from (row, line, number) to the example's id; several columns make one of the form `a/b`."""
    if not columns:
        return lambda row, line, number: str(number)
    if len(columns) == 1:
        column = columns[0]
        return lambda row, line, number: _id(_needed(row, column, path, line), column, path, line)

    def compound(row: Row, line: int, number: int) -> str:
        parts = (_id(_needed(row, column, path, line), column, path, line) for column in columns)
        return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in parts)

    return compound


def label_of(row: Row, column: str, path: Path, line: int) -> str | None:
    """A cell as the name of a group, arm, repeat or slice; None where it is empty."""
    value = _needed(row, column, path, line)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else _label(value, column, path, line)


def _needed(row: Row, column: str, path: Path, line: int) -> Json:
    value = cell_at(row, column, _ABSENT)
    if value is _ABSENT:
        raise unknown_column(column, list(row), path, line)
    return value


def unknown_column(column: str, known: list[str], path: Path, line: int | None = None) -> DatasetError:
    """The refusal of a column that the file doesn't have."""
    shown = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
    return DatasetError(
        f"there is no such column. Columns there are: {shown or 'none'}.{did_you_mean(column, known)}",
        file=path,
        line=line,
        column=column,
    )
