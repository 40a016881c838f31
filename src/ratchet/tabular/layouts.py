"""Which columns of the files at hand play which part: what the spec names, and else the usual names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ratchet.datasets import readers
from ratchet.errors import ConfigError, DatasetError
from ratchet.evidence import FACTS
from ratchet.tabular.cells import cell_at
from ratchet.tabular.specs import Spec
from ratchet.tabular.tables import ArmColumns, Row, unknown_column

ID = ("id", "example_id", "sample_id", "item_id", "question_id", "task_id", "doc_id", "query_id", "qid")
REPEAT = ("repeat", "epoch")
EXPECTED = ("expected", "target")
INPUTS = ("input", "question")
ERRORS = (
    "error",
    "error_code",
    "error_kind",
    "error_type",
    "error_message",
    "error_msg",
    "status_code",
    "exception",
)
TEXT = ("output", "response", "completion")
SCORES = ("score", "correct", "passed", "accuracy")
FACT_COLUMNS = {
    **{fact: (fact,) for fact in FACTS if fact != "tokens_per_s"},
    "latency_s": ("latency_s", "latency_ms"),
    "ttft_s": ("ttft_s", "ttft_ms"),
}
_PEEK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """A file's columns, as its first rows show them."""

    path: Path
    format: str
    columns: tuple[str, ...]
    first: Row

    @property
    def complete(self) -> bool:
        """Whether every column is known: rows of JSON may have further ones."""
        return self.format in ("csv", "tsv", "parquet")

    def has(self, column: str) -> bool:
        """Whether the file has this column, as far as its first rows show."""
        return column in self.columns or cell_at(self.first, column, _NO) is not _NO


_NO = object()


def peek(path: Path, format: str | None) -> Peeked:
    """The columns of the file.

    Raises:
        DatasetError: It can't be read, holds no rows, or its first rows are no objects.
    """
    kind = readers.format_of(path, format)
    columns: dict[str, None] = {}
    first: Row = {}
    with readers.opened(path) as (file, _):
        for line, row in itertools.islice(readers.read(file, path, kind), _PEEK):
            if isinstance(row, DatasetError):
                raise row
            if not isinstance(row, dict):
                raise DatasetError(
                    f"found {type(row).__name__}, expected an object", file=path, line=line, value=row
                )
            found = cast("Row", row)
            columns.update(dict.fromkeys(found))
            first = {**found, **first}
    if not first:
        raise DatasetError("holds no rows", file=path)
    return Peeked(path=path, format=kind, columns=tuple(columns), first=first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The part of each column, in all files alike."""

    by: str | None
    id: tuple[str, ...]
    group: str | None
    repeat: str | None
    expected: str | None
    content: tuple[str, ...]
    """What must be the same under one id."""
    asked: bool
    """Whether that holds the question itself."""
    slices: tuple[str, ...]
    arms: tuple[tuple[str, ArmColumns], ...]
    """Name and columns of each arm of a wide file; one entry named "" where a row belongs to one arm."""

    def mapping(self) -> dict[str, str]:
        """Metric to column, to be shown and hashed."""
        wide = len(self.arms) > 1
        return {
            f"{arm}.{name}" if wide else name: column
            for arm, columns in self.arms
            for name, column in (
                *columns.metrics.items(),
                *(
                    (part, column)
                    for part, column in (("text", columns.text), ("answer", columns.answer))
                    if column
                ),
            )
        }


def layout_of(spec: Spec, files: Sequence[Peeked], *, content: bool = True) -> Layout:
    """The layout of these files.

    Raises:
        DatasetError: A column that the spec names is not there; the message lists those that are.
        ConfigError: Nothing says which column is the id, or which ones are scores.
    """
    for column in _named(spec):
        for file in files:
            if file.complete and not file.has(column):
                raise unknown_column(column, list(file.columns), file.path)
    finder = _Finder(files, {*_named(spec)})
    by = spec.by
    if by is None and len(files) == 1 and not spec.wide:
        by = finder.one(("arm",))
    finder.use(by)
    ids = spec.id or (() if spec.by_row else _default_id(finder))
    for column in ids:
        finder.use(column)
    group = spec.group or finder.one(("group",))
    repeat = spec.repeat or (None if spec.number_repeats else finder.one(REPEAT))
    expected = spec.expected or finder.one(EXPECTED)
    inputs = spec.inputs or tuple(name for name in INPUTS if finder.one((name,)))
    asked = (*inputs, *((expected,) if expected else ()))
    return Layout(
        by=by,
        id=ids,
        group=group,
        repeat=repeat,
        expected=expected,
        content=asked if content else (),
        asked=content and bool(inputs),
        slices=spec.slices,
        arms=_wide_arms(spec, finder) if spec.wide else (("", _arm_columns(spec, finder)),),
    )


def _named(spec: Spec) -> Iterable[str]:
    """Every column that the spec names."""
    single = (
        spec.by,
        spec.group,
        spec.repeat,
        spec.expected,
        spec.error,
        spec.refused,
        spec.cached,
        spec.text,
        spec.answer,
    )
    yield from (column for column in single if column)
    yield from (*spec.id, *spec.inputs, *spec.scores, *spec.slices, *spec.agreement, *spec.facts.values())
    yield from (entry.column for entry in spec.where)
    yield from (column for wide in spec.wide for column in wide.columns)


class _Finder:
    """Finds columns by their usual names, where all files have them and nothing else uses them."""

    def __init__(self, files: Sequence[Peeked], used: set[str]) -> None:
        self.files, self._used = files, used

    def use(self, column: str | None) -> None:
        if column is not None:
            self._used.add(column)

    def one(self, names: Iterable[str]) -> str | None:
        return next(
            (name for name in names if name not in self._used and all(f.has(name) for f in self.files)), None
        )

    def starting(self, start: str) -> list[str]:
        return [
            name for name in self.files[0].columns
            if name.startswith(start) and name not in self._used and all(name in f.columns for f in self.files)
        ]  # fmt: skip

    def errors(self) -> tuple[str, ...]:
        """Every usual name of an error column; rows of JSON may have one only where there was an error."""
        return tuple(
            name for name in ERRORS
            if name not in self._used and any(not f.complete or f.has(name) for f in self.files)
        )  # fmt: skip

    def columns(self) -> str:
        names = self.files[0].columns
        return ", ".join(names[:30]) + (", …" if len(names) > 30 else "")


def _default_id(finder: _Finder) -> tuple[str, ...]:
    found = finder.one(ID)
    if found is None:
        raise ConfigError(
            f"{finder.files[0].path.name} has no column of a usual id's name. Columns there are: {finder.columns()}. "
            "Say which one is it (--id COLUMN, several with commas), or pair by place in the file (--by-row)"
        )
    return (found,)


def _arm_columns(spec: Spec, finder: _Finder) -> ArmColumns:
    facts = {
        **{fact: found for fact, names in FACT_COLUMNS.items() if (found := finder.one(names)) is not None},
        **spec.facts,
    }
    text, answer = spec.text, spec.answer
    if text is None and answer is None and (spec.scorers or spec.extraction):
        text = finder.one(TEXT)
        if text is None:
            raise ConfigError(
                f"no column holds the text to score. Columns there are: {finder.columns()}. Name it with --text COLUMN"
            )
    scores = {column: column for column in spec.scores}
    if not (scores or spec.scorers or text or answer or spec.agreement):
        scores = {name.removeprefix("score."): name for name in finder.starting("score.")}
        found = finder.one(SCORES)
        if found is not None:
            scores[found] = found
    if not (scores or facts or text or answer or spec.agreement):
        raise ConfigError(
            f"nothing to judge was named. Columns there are: {finder.columns()}. "
            "Name scores (--score), facts (--cost, --latency, --ttft), or a text to score (--text with --scorer)"
        )
    return ArmColumns(
        metrics={**facts, **scores},
        errors=(spec.error,) if spec.error else finder.errors(),
        refused=spec.refused or finder.one(("refused", "refusal")),
        cached=spec.cached or finder.one(("cached",)),
        text=text,
        answer=answer,
        agreement=spec.agreement,
    )


def _wide_arms(spec: Spec, finder: _Finder) -> tuple[tuple[str, ArmColumns], ...]:
    count = len(spec.wide[0].columns)
    uneven = next((wide for wide in spec.wide if len(wide.columns) != count), None)
    if uneven is not None:
        raise ConfigError(
            f"{uneven.metric} has {len(uneven.columns)} columns and {spec.wide[0].metric} {count}; "
            "expected one column an arm, in the same order"
        )
    names = spec.arms or spec.wide[0].columns
    if len(names) != count or len(set(names)) != count:
        raise ConfigError(
            f"arms are named {', '.join(names)}; expected {count} different names, one a column"
        )
    made: list[tuple[str, ArmColumns]] = []
    shared = (spec.error,) if spec.error else ()
    for place, name in enumerate(names):
        own = {wide.metric: wide.columns[place] for wide in spec.wide}
        errors = (own.pop("error"),) if "error" in own else shared
        text, answer = own.pop("text", None), own.pop("answer", None)
        made.append((name, ArmColumns(metrics=own, errors=errors, text=text, answer=answer)))
    return tuple(made)
