"""Labels as files: JSONL and CSV of our own, and Label Studio's JSON, out and in."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from ratchet import codec
from ratchet.agreements import text_of
from ratchet.errors import CodecError, ConfigError, DatasetError
from ratchet.labels import label_studio, rubrics
from ratchet.ports import Store
from ratchet.records import Json, Score, ScoreValue
from ratchet.sheets import all_problems, bad_cell, csv_cells

FORMATS: Mapping[str, str] = {"jsonl": "JSONL", "csv": "CSV", "json": "Label Studio JSON"}
MOST_BYTES = 64 * 1024 * 1024
_DIMENSIONS = ("cost", "latency", "accuracy", "security", "stability")
COLUMNS = (
    "trace_id", "against", "name", "kind", "value", "by", "note", "dimension", "created_at", "rubric", "rubric_version",
    "probability", "seconds", "why", "queue", "position", "metadata",
)  # fmt: skip
_OWN = ("rubric", "rubric_version", "probability", "seconds", "why", "queue", "position")
_MOST_PROBLEMS = 10_000
_RUNS_AS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")

Row = Mapping[str, Json]


def labels_of(
    store: Store, run_id: str | None = None, *, name: str | None = None, queue_id: str | None = None
) -> list[Score]:
    """People's labels that count, by commit: of a run, of one name, of one queue, or all."""
    return [
        score
        for score in store.scores(run_id, name=name)
        if score.source == "human"
        and score.value is not None
        and (queue_id is None or score.metadata.get("queue") == queue_id)
    ]


def format_of(path: str | Path) -> str:
    """The format that a file's extension says.

    Raises:
        ConfigError: Another extension.
    """
    extension = Path(path).suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        known = ", ".join(f".{ext} ({name})" for ext, name in FORMATS.items())
        raise ConfigError(f"{path}: the extension says the format of labels; known: {known}")
    return extension


def lines(scores: Iterable[Score], store: Store, kind: str) -> Iterator[bytes]:
    """The file's content, piece by piece."""
    if kind == "csv":
        yield from _csv_lines(scores)
    elif kind == "json":
        yield from label_studio.lines(scores, store)
    else:
        for score in scores:
            row = {name: value for name, value in row_of(score).items() if value is not None}
            yield codec.dumps(row) + b"\n"


def row_of(score: Score) -> dict[str, Json]:
    """A label by column; what is absent is None."""
    metadata = dict(score.metadata)
    own = {name: metadata.pop(name, None) for name in _OWN}
    return {
        "trace_id": score.trace_id,
        "against": score.against,
        "name": score.name,
        "kind": kind_of(score.value),
        "value": codec.plain(score.value),
        "by": score.by,
        "note": score.reason,
        "dimension": score.dimension,
        "created_at": score.created_at,
        **own,
        "metadata": metadata or None,
    }


def kind_of(value: ScoreValue) -> str:
    """bool, number, label or labels: so that the label "true" and true stay apart."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "labels" if isinstance(value, frozenset) else "label"


def _csv_lines(scores: Iterable[Score]) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for score in scores:
        row = row_of(score)
        row["value"] = codec.dumps(row["value"]).decode() if row["kind"] == "labels" else text_of(score.value)
        if row["kind"] == "number":
            row["value"] = repr(row_of(score)["value"])
        writer.writerow(
            _cell(row[name], quoted=row["kind"] != "number" or name != "value") for name in COLUMNS
        )
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: Json, *, quoted: bool = True) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else codec.dumps(value).decode()
    # a spreadsheet would run it; reading takes the mark away again
    return f"'{text}" if quoted and text.startswith(_RUNS_AS_FORMULA) and isinstance(value, str) else text


def read(file: BinaryIO, name: str | Path, store: Store, *, by: str | None = None) -> list[Score]:
    """The labels in this file, checked against the store; none is kept yet.

    Args:
        name: Its name, for the format and for errors.
        by: Who labelled, where the file does not say; in a Label Studio file it replaces who is named there.

    Raises:
        DatasetError: Rows that can't be used, the first ten by file, line, column, value and what was expected.
        ConfigError: Another extension.
    """
    path = Path(name)
    kind = format_of(path)
    make = {"jsonl": _jsonl_rows, "csv": _csv_rows, "json": label_studio.rows}[kind]
    found: list[Score] = []
    problems: list[DatasetError] = []
    reader = _Reader(path, store, by, cells=kind == "csv", override=kind == "json")
    for line, row in make(file, path):
        try:
            found.append(reader.score(line, row))
        except DatasetError as problem:
            problems.append(problem)
            if len(problems) >= _MOST_PROBLEMS:
                break
    if problems:
        raise all_problems(problems)
    return found


def bring_in(file: BinaryIO, name: str | Path, store: Store, *, by: str | None = None) -> int:
    """How many labels of this file are kept now; those that the store holds word for word are not written again.

    Raises:
        DatasetError, ConfigError: As `read`; nothing is kept then.
    """
    found = read(file, name, store, by=by)
    names = {score.name for score in found}
    known = {_key(s): s for n in names for s in store.scores(name=n) if s.source == "human"}
    new = [score for score in found if known.get(_key(score)) != score]
    store.write(new)
    return len(new)


def _key(score: Score) -> tuple[str, str | None, str, str]:
    return score.trace_id, score.against, score.name, score.by


class _Reader:
    """Turns rows into Scores, and says what is wrong with them."""

    def __init__(self, path: Path, store: Store, by: str | None, *, cells: bool, override: bool) -> None:
        self._path, self._store, self._by = path, store, by
        self._cells, self._override = cells, override
        self._rubrics: dict[tuple[str, str], rubrics.Rubric | None] = {}
        self._traces: dict[str, bool] = {}

    def score(self, line: int, row: Row) -> Score:
        name = self._text(line, row, "name", "the score's name")
        rubric = self._rubric(name, str(row.get("rubric_version") or ""))
        against = self._trace(line, row, "against") if row.get("against") else None
        metadata = self._metadata(line, row)
        metadata |= {own: self._own(line, row, own) for own in _OWN if row.get(own) not in (None, "")}
        dimension = row.get("dimension") or "accuracy"
        if dimension not in _DIMENSIONS:
            raise self._bad(line, "dimension", dimension, f"expected one of {', '.join(_DIMENSIONS)}")
        return Score(
            trace_id=self._trace(line, row, "trace_id"),
            against=against,
            name=name,
            value=self._value(line, row, rubric),
            reason=codec.clean_text(str(row["note"])) if row.get("note") not in (None, "") else None,
            source="human",
            by=self._person(line, row),
            dimension=dimension,
            metadata=metadata,
            created_at=self._number(line, row, "created_at", default=time.time()),
        )

    def _rubric(self, name: str, version: str) -> rubrics.Rubric | None:
        """The version that the label was given by, where the store has it, else the newest."""
        if (name, version) not in self._rubrics:
            own = rubrics.load(self._store, name, version) if version else None
            self._rubrics[name, version] = own or rubrics.load(self._store, name)
        return self._rubrics[name, version]

    def _bad(self, line: int, column: str, value: Json, message: str) -> DatasetError:
        return bad_cell(self._path, line, column, value if isinstance(value, str) else _short(value), message)

    def _text(self, line: int, row: Row, column: str, what: str) -> str:
        value = row.get(column)
        if not isinstance(value, str) or not value.strip():
            raise self._bad(line, column, "" if value is None else value, f"expected {what}")
        return codec.clean_text(value.strip())

    def _person(self, line: int, row: Row) -> str:
        if self._by and (self._override or not row.get("by")):
            return self._by
        return self._text(line, row, "by", "who labelled; --by NAME says it for all rows")

    def _trace(self, line: int, row: Row, column: str) -> str:
        trace = self._text(line, row, column, "a trace id of 32 hex digits")
        if trace not in self._traces:
            self._traces[trace] = self._store.trace(trace) is not None
        if not self._traces[trace]:
            raise self._bad(
                line, column, trace, "no trace of this store has this id; expected one of its trace ids"
            )
        return trace

    def _number(self, line: int, row: Row, column: str, *, default: float) -> float:
        value = row.get(column)
        if value in (None, ""):
            return default
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self._bad(line, column, value, "expected a number")
        return number

    def _own(self, line: int, row: Row, column: str) -> Json:
        if column in ("probability", "seconds"):
            return self._number(line, row, column, default=0.0)
        if column == "position":
            return int(self._number(line, row, column, default=0.0))
        return str(row[column])

    def _metadata(self, line: int, row: Row) -> dict[str, Json]:
        given = row.get("metadata")
        if given in (None, ""):
            return {}
        if isinstance(given, str):
            try:
                given = codec.parse(given)
            except CodecError:
                given = None
        if not isinstance(given, Mapping):
            raise self._bad(line, "metadata", row["metadata"], "expected a JSON object")
        return dict(cast("Mapping[str, Json]", given))

    def _value(self, line: int, row: Row, rubric: rubrics.Rubric | None) -> ScoreValue:
        said, kind = row.get("value"), row.get("kind") or None
        if kind not in (None, "bool", "number", "label", "labels"):
            raise self._bad(line, "kind", kind, "expected bool, number, label or labels")
        if said is None or said == "":
            raise self._bad(line, "value", "", f"expected {rubric.describe() if rubric else 'a value'}")
        try:
            value = _from_text(said, kind) if isinstance(said, str) else said
            if rubric is not None and rubric.kind != "pair":
                return rubric.read(value)
            return _plain_value(value, kind)
        except ValueError as error:
            raise self._bad(line, "value", said, str(error)) from None


def _from_text(said: str, kind: str | None) -> Json:
    """The value that a cell stands for; as text where nothing says more."""
    if kind == "bool":
        if said.casefold() not in ("true", "false"):
            raise ValueError("expected true or false")
        return said.casefold() == "true"
    if kind == "number":
        try:
            return float(said)
        except ValueError:
            raise ValueError("expected a number") from None
    if kind == "labels":
        try:
            return codec.parse(said)
        except CodecError:
            return [part.strip() for part in said.split(",") if part.strip()]
    return said


def _plain_value(value: Json, kind: str | None) -> ScoreValue:
    if isinstance(value, (list, tuple)):
        if not all(isinstance(item, str) for item in cast("list[Json]", value)):
            raise ValueError("expected a list of labels")
        return frozenset(cast("list[str]", value))
    if isinstance(value, bool) or (isinstance(value, str) and kind in (None, "label")):
        return value
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise ValueError("expected true, false, a number, a label or a list of labels")


def _short(value: Json) -> str:
    return json.dumps(value, default=str)[:60]


def _jsonl_rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    for line, data in enumerate(file, 1):
        if not data.strip():
            continue
        try:
            row: Json = codec.parse(data)
        except CodecError as error:
            raise DatasetError(f"this is no JSON: {error}", file=path, line=line) from None
        if not isinstance(row, dict):
            raise DatasetError(f"{_short(row)}: expected an object", file=path, line=line)
        yield line, cast("dict[str, Json]", row)


def _csv_rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        for line, row in csv_cells(text, path, needed=("trace_id", "name", "value"), known=COLUMNS):
            yield line, {name: _unquoted(cell) for name, cell in row.items()}
    finally:
        text.detach()  # the file is the caller's to close


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RUNS_AS_FORMULA) else cell
