"""Records as rows of the tables, and back."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import orjson

from ratchet import codec
from ratchet.errors import CodecError, StoreError
from ratchet.ports import TraceRow
from ratchet.records import Score, ScoreValue, Trace

Row: TypeAlias = tuple[Any, ...]

COMPRESS_FROM = 4096
"""Bytes of a payload: below it, zlib costs more CPU than the pages it saves."""
NEAR = 256
"""Bytes of a score's reason and metadata that may stand in its own row; longer ones stand apart."""
_MAX_INTEGER = 2**63 - 1

ROW_FIELDS = tuple(f.name for f in fields(TraceRow))


def columns(names: Iterable[str], table: str = "") -> str:
    """The names as SQL: quoted, as `group` and `by` are SQL's own words."""
    return ", ".join(f'{table}."{name}"' if table else f'"{name}"' for name in names)


ROW_COLUMNS = columns(ROW_FIELDS)
INSERT_TRACE = (
    f"INSERT INTO traces (seq, {ROW_COLUMNS}, request_key) VALUES ({', '.join('?' * (len(ROW_FIELDS) + 2))})"
)
INSERT_PAYLOAD = "INSERT INTO payloads (seq, compressed, data) VALUES (?, ?, ?)"
_SCORE_FIELDS = (
    "trace_id", "against", "name", "kind", "number", "text", "source", "by", "dimension", "created_at", "details", "far"
)  # fmt: skip
SCORE_COLUMNS = (
    columns(_SCORE_FIELDS[:-2], "s")
    + ", CASE WHEN s.far THEN (SELECT data FROM score_details d WHERE d.seq = s.seq) ELSE s.details END"
)
INSERT_SCORE = (
    f"INSERT INTO scores (seq, {columns(_SCORE_FIELDS)}) VALUES ({', '.join('?' * (len(_SCORE_FIELDS) + 1))})"
)
INSERT_DETAILS = "INSERT INTO score_details (seq, data) VALUES (?, ?)"


@dataclass(slots=True, kw_only=True)
class Rows:
    """What one batch puts into the tables; the writer adds `seq`, the order of commit."""

    traces: list[Row] = field(default_factory=list[Row])
    payloads: list[Row] = field(default_factory=list[Row])
    scores: list[Row] = field(default_factory=list[Row])
    far: list[str | None] = field(default_factory=list[str | None])
    """For each score its details, where they stand apart."""

    def size(self) -> int:
        """About how many bytes these rows are."""
        rows = len(self.traces) + len(self.scores)
        return 200 * rows + sum(len(data) for _, data in self.payloads) + sum(len(t) for t in self.far if t)


def to_rows(records: Iterable[Trace | Score]) -> Rows:
    """The rows of these records, in their order.

    Raises:
        CodecError: A record holds what can't be kept, such as NaN as a score.
        StoreError: Something is neither a Trace nor a Score.
    """
    rows = Rows()
    for record in records:
        if isinstance(record, Trace):
            rows.traces.append(trace_row(record))
            rows.payloads.append(to_payload(record))
        elif isinstance(record, Score):
            row, far = _score_row(record)
            rows.scores.append(row)
            rows.far.append(far)
        else:
            raise StoreError(
                f"a store keeps Trace and Score by `write`, not {type(record).__name__}; "
                "immutable content goes through `put_content`, runs through `save_run`"
            )
    return rows


def trace_row(trace: Trace) -> Row:
    """The narrow columns, in the order of `INSERT_TRACE` after seq."""
    error = trace.error
    return (
        trace.id, trace.run_id, trace.arm, trace.example_id, trace.repeat, trace.group, trace.release_id,
        trace.sticky_key, trace.shadow_of, trace.model, trace.finish_reason, trace.refusal is not None,
        trace.answer_error is not None, trace.input_tokens, trace.output_tokens, trace.cached_tokens,
        trace.reasoning_tokens, trace.cost_usd, trace.ttft_s, trace.latency_s, trace.queue_s, trace.attempts,
        None if error is None else error.kind, trace.cached, trace.created_at, trace.request_key,
    )  # fmt: skip


def to_trace_row(row: Row) -> TraceRow:
    """The record of `ROW_COLUMNS`."""
    values = dict(zip(ROW_FIELDS, row, strict=True))
    values["refused"] = bool(values["refused"])
    values["unparsable"] = bool(values["unparsable"])
    values["cached"] = bool(values["cached"])
    return TraceRow(**values)


def to_payload(trace: Trace) -> Row:
    """(compressed, data) of the whole trace."""
    data = codec.dumps(trace)
    if len(data) >= COMPRESS_FROM:
        small = zlib.compress(data, 1)
        if len(small) < len(data):
            return 1, small
    return 0, data


def from_payload(compressed: int, data: bytes) -> Trace:
    """The trace of these columns.

    Raises:
        StoreError: The bytes are damaged, or from a newer Ratchet.
    """
    try:
        return codec.loads(Trace, zlib.decompress(data) if compressed else data)
    except (CodecError, zlib.error) as error:
        raise StoreError(f"a payload can't be read: {error}") from error


def _score_row(score: Score) -> tuple[Row, str | None]:
    kind, number, text = _from_value(score)
    details = _details(score)
    far = details if details is not None and len(details) > NEAR else None
    row = (
        score.trace_id, score.against, score.name, kind, number, text, score.source, score.by, score.dimension,
        score.created_at, details if far is None else None, far is not None,
    )  # fmt: skip
    return row, far


def _from_value(score: Score) -> tuple[str | None, float | None, str | None]:
    value = score.value
    if value is None:
        return None, None, None
    if isinstance(value, bool):
        return "bool", float(value), None
    if isinstance(value, (int, float)):
        number = float(value)
        if not math.isfinite(number):
            raise CodecError(
                f"score {score.name!r} of trace {score.trace_id} is {value}; expected a finite number, "
                "or None with a reason"
            )
        return "number", number, None
    if isinstance(value, str):
        return "label", None, value
    if isinstance(value, (frozenset, set)):
        return "labels", None, _json(sorted(value))
    raise CodecError(
        f"score {score.name!r} of trace {score.trace_id} is a {type(value).__name__}; "
        "expected a bool, number, label, set of labels or None"
    )


def _details(score: Score) -> str | None:
    if score.reason is None and not score.metadata and not score.cost_trace_ids:
        return None
    details: dict[str, Any] = {}
    if score.reason is not None:
        details["reason"] = score.reason
    if score.metadata:
        details["metadata"] = score.metadata
    if score.cost_trace_ids:
        details["cost_trace_ids"] = score.cost_trace_ids
    return _json(details)


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=codec.plain).decode()
    except TypeError:  # what orjson can't say; several times slower
        return codec.dumps(value).decode()


def to_score(row: Row) -> Score:
    """The record of `SCORE_COLUMNS`."""
    trace_id, against, name, kind, number, text, source, by, dimension, created_at, details = row
    extra: dict[str, Any] = codec.parse(details) if details else {}
    return Score(
        trace_id=trace_id,
        against=against,
        name=name,
        value=_to_value(kind, number, text),
        source=source,
        by=by,
        dimension=dimension,
        created_at=created_at,
        reason=extra.get("reason"),
        metadata=extra.get("metadata", {}),
        cost_trace_ids=tuple(extra.get("cost_trace_ids", ())),
    )


def _to_value(kind: str | None, number: float | None, text: str | None) -> ScoreValue:
    if kind == "bool":
        return bool(number)
    if kind == "labels":
        return frozenset(codec.parse(text or "[]"))
    return number if kind == "number" else text


def clean(rows: Rows) -> Rows:
    """The same rows with what SQLite's types can't hold made to fit; payloads keep the exact values."""
    return Rows(
        traces=[clean_row(row) for row in rows.traces],
        payloads=rows.payloads,
        scores=[clean_row(row) for row in rows.scores],
        far=[None if text is None else codec.clean_text(text) for text in rows.far],
    )


def clean_row(row: Row) -> Row:
    """The row with integers cut to 64 bits and text to valid Unicode."""
    return tuple(_clean_value(value) for value in row)


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return codec.clean_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_MAX_INTEGER, min(_MAX_INTEGER, value))
    return value
