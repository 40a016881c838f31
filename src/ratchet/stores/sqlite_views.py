"""Narrow questions that a page asks of the store: tallies, cells without payloads, a few traces by id."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratchet import codec
from ratchet.ports import ArmCounts, RunRow
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


def previews(store: SQLiteStore, ids: Sequence[str], *, at_most_bytes: int) -> dict[str, dict[str, Any]]:
    """The JSON of these traces as it is kept, for a line of each in a table: a tenth of what whole records cost."""
    query = (
        "SELECT t.id, p.compressed, p.data FROM traces t JOIN payloads p ON p.seq = t.seq "
        f"WHERE t.id IN ({', '.join('?' * len(ids))}) AND length(p.data) <= ?"
    )
    found = store._all(query, [*ids, at_most_bytes]) if ids else ()
    return {
        id_: codec.parse(zlib.decompress(data) if compressed else data) for id_, compressed, data in found
    }


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


def run_row(store: SQLiteStore, run_id: str) -> RunRow | None:
    """One line of the list of runs."""
    row = store._one(
        "SELECT id, name, task_id, state, reason, created_at, finished_at FROM runs WHERE id = ?", (run_id,)
    )
    if row is None:
        return None
    names = ("id", "name", "task_id", "state", "reason", "created_at", "finished_at")
    return RunRow(**dict(zip(names, row, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """An answer to the same example."""

    id: str
    arm: str
    repeat: int
    error_kind: str | None


def siblings(store: SQLiteStore, run_id: str, arm: str, example_id: str, *, most: int = 50) -> list[Sibling]:
    """One arm's answers to an example, by repeat, without their payloads."""
    query = (
        "SELECT id, arm, repeat, error_kind FROM traces INDEXED BY traces_unit WHERE run_id = ? AND arm = ? "
        "AND example_id = ? AND superseded = 0 AND arm IS NOT NULL ORDER BY repeat LIMIT ?"
    )
    return [
        Sibling(id=id_, arm=name, repeat=repeat, error_kind=error)
        for id_, name, repeat, error in store._all(query, (run_id, arm, example_id, most))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTrace:
    """One line of the list of all traces."""

    seq: int
    id: str
    run_id: str | None
    arm: str | None
    example_id: str | None
    error_kind: str | None
    cost_usd: float | None
    latency_s: float | None
    created_at: float


def newest(
    store: SQLiteStore, *, before: int | None = None, arm: str = "", error: str = "", limit: int = 100
) -> list[ListedTrace]:
    """The store's newest traces that count, newest first, those before a place in the order of commit.

    Args:
        arm: Only this arm's.
        error: "ok", "failed", or a kind of error.
    """
    values: list[Any] = [before if before is not None else 2**62]
    where = "seq < ? AND superseded = 0"
    if arm:
        where += " AND arm = ?"
        values.append(arm)
    if error in ("ok", "failed"):
        where += f" AND error_kind IS {'NOT ' if error == 'failed' else ''}NULL"
    elif error:
        where += " AND error_kind = ?"
        values.append(error)
    return _listed(
        store, f"FROM traces NOT INDEXED WHERE {where} ORDER BY seq DESC LIMIT ?", [*values, limit]
    )


def listed(store: SQLiteStore, places: Sequence[int]) -> list[ListedTrace]:
    """The traces at these places in the order of commit, newest first; at most a few hundred."""
    marks = ", ".join("?" * len(places))
    query = f"FROM traces WHERE seq IN ({marks}) AND superseded = 0 ORDER BY seq DESC"
    return _listed(store, query, list(places)) if places else []


def _listed(store: SQLiteStore, query: str, values: Sequence[Any]) -> list[ListedTrace]:
    names = ("seq", "id", "run_id", "arm", "example_id", "error_kind", "cost_usd", "latency_s", "created_at")
    found = store._all(f"SELECT {', '.join(names)} {query}", values)
    return [ListedTrace(**dict(zip(names, row, strict=True))) for row in found]


def labels_since(store: SQLiteStore, after: int) -> Iterator[tuple[int, ScoreCell]]:
    """Labels of single answers by people committed after this place, in order, each with its own; None took one back."""
    query = (
        'SELECT seq, trace_id, name, kind, number, text, source, "by" FROM scores '
        "WHERE seq > ? AND source = 'human' AND against IS NULL ORDER BY seq"
    )
    for seq, trace_id, name, kind, number, text, source, by in store._all(query, (after,)):
        value = rows_of._to_value(kind, number, text)
        yield seq, ScoreCell(trace_id=trace_id, name=name, value=value, source=source, by=by)
