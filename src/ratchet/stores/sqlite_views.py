"""Narrow questions that a page asks of the store: tallies, cells without payloads, a few traces by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratchet.ports import ArmCounts
from ratchet.records import ScoreValue, Trace
from ratchet.stores import sqlite_rows as rows_of

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

_IDS_AT_ONCE = 500
_LOOKED_AT = 20_000
"""New scores that are looked through for one that belongs to a run; with more, it is taken to have some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCell:
    """One score as it stands in a table."""

    trace_id: str
    name: str
    value: ScoreValue
    source: str
    by: str


def traces_by_id(
    store: SQLiteStore, ids: Sequence[str], *, at_most_bytes: int | None = None
) -> dict[str, Trace]:
    """The traces there are, by id, in the order asked for; larger ones than `at_most_bytes` (as kept) are left out."""
    found: dict[str, Trace] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        query = (
            "SELECT t.id, p.compressed, p.data FROM traces t JOIN payloads p ON p.seq = t.seq "
            f"WHERE t.id IN ({', '.join('?' * len(some))})"
        )
        values: list[Any] = list(some)
        if at_most_bytes is not None:
            query += " AND length(p.data) <= ?"
            values.append(at_most_bytes)
        for id_, compressed, data in store._all(query, values):
            found[id_] = rows_of.from_payload(compressed, data)
    return {id_: found[id_] for id_ in ids if id_ in found}


def counts(store: SQLiteStore, run_id: str, *, after: int = 0) -> list[ArmCounts]:
    """What each arm of the run holds, of the traces committed after `after`; the judge's calls under the arm None."""
    query = (
        "SELECT arm, count(*), sum(error_kind IS NOT NULL), sum(cost_usd), sum(error_kind IS NULL AND cost_usd IS NULL), "
        "sum(cached), sum(input_tokens), sum(output_tokens), max(created_at) "
        "FROM traces INDEXED BY traces_run WHERE run_id = ? AND superseded = 0 AND seq > ? GROUP BY arm"
    )
    return [
        ArmCounts(
            arm=arm, rows=rows, failed=failed or 0, cost_usd=cost, unpriced=unpriced or 0, cached=cached or 0,
            input_tokens=input_tokens or 0, output_tokens=output_tokens or 0, newest_at=newest or 0.0,
        )
        for arm, rows, failed, cost, unpriced, cached, input_tokens, output_tokens, newest
        in store._all(query, (run_id, after))
    ]  # fmt: skip


def size(store: SQLiteStore, run_id: str) -> int:
    """How many traces the run holds, superseded ones included: a count of index entries."""
    row = store._one("SELECT count(*) FROM traces INDEXED BY traces_run WHERE run_id = ?", (run_id,))
    return int(row[0]) if row else 0


def newest_trace(store: SQLiteStore, run_id: str | None = None) -> int:
    """The place in the order of commit of the run's (or the store's) newest trace; 0 where there is none."""
    if run_id is None:
        row = store._one("SELECT max(seq) FROM traces", ())
    else:
        row = store._one(
            "SELECT seq FROM traces INDEXED BY traces_run WHERE run_id = ? ORDER BY seq DESC LIMIT 1",
            (run_id,),
        )
    return int(row[0] or 0) if row else 0


def newest_score(store: SQLiteStore) -> int:
    """The place in the order of commit of the store's newest score."""
    row = store._one("SELECT max(seq) FROM scores", ())
    return int(row[0] or 0) if row else 0


def scored_since(store: SQLiteStore, run_id: str, after: int) -> bool:
    """Whether a trace of the run got a score after this place; True as well after very many new scores of any run."""
    if newest_score(store) <= after:
        return False
    row = store._one(
        "SELECT count(*), max(EXISTS (SELECT 1 FROM traces t WHERE t.id = s.trace_id AND t.run_id = ?)) FROM "
        "(SELECT trace_id FROM scores WHERE seq > ? ORDER BY seq LIMIT ?) s",
        (run_id, after, _LOOKED_AT),
    )
    return row is not None and (row[0] >= _LOOKED_AT or bool(row[1]))


def recent_times(store: SQLiteStore, run_id: str, *, most: int = 400) -> list[float]:
    """When the run's newest answers came, newest first, in Unix time; calls of judges are among them."""
    query = "SELECT created_at FROM traces INDEXED BY traces_run WHERE run_id = ? ORDER BY seq DESC LIMIT ?"
    return [float(at) for (at,) in store._all(query, (run_id, most))]


CELLS = (
    "seq", "id", "arm", "example_id", "repeat", "group", "error_kind", "refused", "unparsable", "cached", "cost_usd",
    "latency_s", "ttft_s", "input_tokens", "output_tokens", "attempts", "created_at",
)  # fmt: skip
"""What `cells` gives, in this order."""


def cells(store: SQLiteStore, run_id: str) -> Iterator[tuple[Any, ...]]:
    """`CELLS` of every answer of the run that counts, in order of commit, without its judge's calls."""
    query = (
        f"SELECT {rows_of.columns(CELLS)} FROM traces INDEXED BY traces_run "
        "WHERE run_id = ? AND superseded = 0 AND arm IS NOT NULL ORDER BY seq"
    )
    return store._all(query, (run_id,))


def score_cells(store: SQLiteStore, run_id: str) -> Iterator[ScoreCell]:
    """The newest scores of the run's answers, none of pairs, in order of the traces' commit."""
    query = (
        'SELECT s.trace_id, s.name, s.kind, s.number, s.text, s.source, s."by" '
        "FROM traces t INDEXED BY traces_run CROSS JOIN scores s INDEXED BY scores_trace "
        "WHERE t.run_id = ? AND t.superseded = 0 AND s.trace_id = t.id AND s.superseded = 0 AND s.against IS NULL "
        "ORDER BY t.seq, s.seq"
    )
    for trace_id, name, kind, number, text, source, by in store._all(query, (run_id,)):
        value = rows_of._to_value(kind, number, text)
        yield ScoreCell(trace_id=trace_id, name=name, value=value, source=source, by=by)


def units(store: SQLiteStore, run_id: str, arm: str) -> Iterator[tuple[str, int, str]]:
    """(example id, repeat, trace id) of every answer of the arm that counts, in order of commit."""
    query = (
        "SELECT example_id, repeat, id FROM traces INDEXED BY traces_run "
        "WHERE run_id = ? AND superseded = 0 AND arm = ? AND example_id IS NOT NULL ORDER BY seq"
    )
    yield from store._all(query, (run_id, arm))


def repeats_of(store: SQLiteStore, run_id: str, arm: str, example_id: str, *, most: int = 100) -> list[Trace]:
    """The answers of one arm on one example, by repeat."""
    query = (
        "SELECT p.compressed, p.data FROM traces t INDEXED BY traces_unit JOIN payloads p ON p.seq = t.seq "
        "WHERE t.run_id = ? AND t.arm = ? AND t.example_id = ? AND t.superseded = 0 AND t.arm IS NOT NULL "
        "ORDER BY t.repeat LIMIT ?"
    )
    return [rows_of.from_payload(*row) for row in store._all(query, (run_id, arm, example_id, most))]


def payloads(store: SQLiteStore, run_id: str, *, after: int) -> Iterator[tuple[int, int, bytes]]:
    """(seq, compressed, data) of the run's payloads committed after this place, in order."""
    yield from store._all(
        "SELECT t.seq, p.compressed, p.data FROM traces t INDEXED BY traces_run JOIN payloads p ON p.seq = t.seq "
        "WHERE t.run_id = ? AND t.seq > ? AND t.superseded = 0 ORDER BY t.seq",
        (run_id, after),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """Another answer to the same example of a run."""

    trace_id: str
    arm: str
    repeat: int
    failed: bool


def siblings(
    store: SQLiteStore, run_id: str, arms: Sequence[str], example_id: str, *, most: int = 200
) -> list[Sibling]:
    """The answers of these arms on one example, arm by arm and by repeat."""
    query = (
        "SELECT id, repeat, error_kind IS NOT NULL FROM traces INDEXED BY traces_unit "
        "WHERE run_id = ? AND arm = ? AND example_id = ? AND superseded = 0 AND arm IS NOT NULL ORDER BY repeat LIMIT ?"
    )
    return [
        Sibling(trace_id=id_, arm=arm, repeat=repeat, failed=failed == 1)
        for arm in arms
        for id_, repeat, failed in store._all(query, (run_id, arm, example_id, most))
    ]
