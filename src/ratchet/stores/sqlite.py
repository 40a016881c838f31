"""`SQLiteStore`: everything in one file, in WAL mode, with one writer and any number of readers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from ratchet import codec
from ratchet.errors import StoreError
from ratchet.ports import ArmCounts, RefMove, RunRow, TraceFilter, TraceRow
from ratchet.records import Json, Run, RunState, Score, Trace
from ratchet.stores import run_locks, sqlite_errors as errors, sqlite_rows as rows_of, sqlite_views
from ratchet.stores.sqlite_access import AccessTables
from ratchet.stores.sqlite_labels import LabelTables
from ratchet.stores.sqlite_rows import Row
from ratchet.stores.sqlite_schema import connect, open_database
from ratchet.stores.sqlite_writer import Call, Writer

_WHICH: Mapping[TraceFilter, str] = {
    "all": "",
    "ok": " AND error_kind IS NULL",
    "failed": " AND error_kind IS NOT NULL",
}
_ENCODE_INLINE = 256
"""Records that `awrite` turns into rows on the event loop; a larger batch would make it wait."""


class SQLiteStore(LabelTables, AccessTables):
    """A `ports.Store` in one SQLite file.

    Readers get connections of their own, so an iterator sees the store as it was when its first row was read, and
    holds no lock; while it stays open, the write-ahead log can't be shortened.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, busy_timeout_s: float = 10.0) -> None:
        """Open the store, making the file or bringing it to the present version where needed.

        Args:
            busy_timeout_s: How long a write waits for another process that writes.

        Raises:
            StoreVersionError: The file was written by a newer Ratchet, or not by Ratchet.
            StoreReadOnlyError, StoreBusyError, StoreFullError, StoreError: It can't be used.
        """
        self.path = Path(path)
        self.read_only = read_only
        self._readers = _Readers(self.path, read_only, busy_timeout_s)
        db = open_database(self.path, read_only=read_only, busy_timeout_s=busy_timeout_s)
        self._writer: Writer | None = None
        closers = [self._readers.close]
        if read_only:
            self._readers.give(db)
        else:
            # the thread knows the writer alone, so that a store nobody holds any more is closed, at exit at the latest
            file = self.path
            self._writer = Writer(
                file,
                lambda: open_database(file, read_only=False, busy_timeout_s=busy_timeout_s),
                db,
                busy_timeout_s=busy_timeout_s,
            )
            closers.insert(0, self._writer.close)
        self._close = weakref.finalize(self, _call_all, closers)

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r}{', read_only=True' if self.read_only else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # writing

    def write(self, records: Iterable[Trace | Score]) -> None:
        """Commit these records; all or none of them.

        Raises:
            StoreError: They were not written; its kinds say why. The store stays usable.
            CodecError: A record holds what JSON can't say; nothing was written.
        """
        rows = rows_of.to_rows(records)
        self._for_writing().write(rows)

    async def awrite(self, records: Iterable[Trace | Score]) -> None:
        """The same without blocking the event loop; a cancelled wait doesn't take the records back."""
        writer = self._for_writing()
        some = list(records)
        if len(some) <= _ENCODE_INLINE:
            rows = rows_of.to_rows(some)
        else:
            rows = await asyncio.to_thread(rows_of.to_rows, some)
        await writer.awrite(rows)

    def flush(self) -> None:
        """Wait until everything handed over is durable."""
        if self._writer is not None:
            self._writer.call(lambda db: None)

    def close(self) -> None:
        """Commit what was handed over, and let go of the file; a second call does nothing."""
        self._close()

    def _for_writing(self) -> Writer:
        if self._writer is None:
            raise errors.read_only(self.path, "it was opened with read_only=True")
        return self._writer

    def _call(self, call: Call) -> Any:
        return self._for_writing().call(call)

    # content and runs

    def put_content(self, kind: str, content_id: str, data: Mapping[str, Json]) -> None:
        """Keep immutable content by its hash; a second put of one id changes nothing."""
        values = (content_id, kind, codec.dumps(data))
        self._call(
            lambda db: db.execute("INSERT OR IGNORE INTO contents (id, kind, data) VALUES (?, ?, ?)", values)
        )

    def content(self, content_id: str) -> Mapping[str, Json] | None:
        row = self._one("SELECT data FROM contents WHERE id = ?", (content_id,))
        return None if row is None else codec.parse(row[0])

    def save_run(self, run: Run) -> None:
        """Keep a new run, in state "running"; the same run once more is running again.

        Raises:
            StoreError: Another run with this id is kept already.
        """
        record = codec.dumps(run)
        values = (run.id, run.name, codec.content_id(run.task), run.created_at, record)

        def save(db: sqlite3.Connection) -> None:
            kept = db.execute("SELECT record FROM runs WHERE id = ?", (run.id,)).fetchone()
            if kept is None:
                db.execute(
                    "INSERT INTO runs (id, name, task_id, state, reason, created_at, record) "
                    "VALUES (?, ?, ?, 'running', '', ?, ?)",
                    values,
                )
            elif kept[0] != record:
                raise StoreError(
                    f"another run with the id {run.id} is kept already; a new run needs a new id"
                )
            else:
                _set_state(db, run.id, "running", "")

        self._call(save)

    def set_run_state(self, run_id: str, state: RunState, reason: str = "") -> None:
        """Note how a run stands; any state but "running" ends it now.

        Raises:
            StoreError: There is no such run.
        """
        self._call(lambda db: _set_state(db, run_id, state, reason))

    def hold_run(self, run_id: str) -> AbstractContextManager[None]:
        """Keep the work on this run to this caller: `run_locks.hold`.

        Raises:
            StoreReadOnlyError: The store was opened read-only.
        """
        self._for_writing()
        return run_locks.hold(self.path, run_id)

    def run(self, run_id: str) -> Run | None:
        row = self._one("SELECT record FROM runs WHERE id = ?", (run_id,))
        return None if row is None else codec.loads(Run, row[0])

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Newest first."""
        names = "id, name, task_id, state, reason, created_at, finished_at"
        found = self._all(
            f"SELECT {names} FROM runs ORDER BY created_at DESC, id DESC LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [
            RunRow(id=i, name=n, task_id=t, state=s, reason=r, created_at=c, finished_at=f)
            for i, n, t, s, r, c, f in found
        ]

    # traces

    def rows(
        self, run_id: str | None = None, *, arm: str | None = None, which: TraceFilter = "all"
    ) -> Iterator[TraceRow]:
        """Narrow facts of the traces that count, in order of commit."""
        source, values = _live(run_id, arm, which)
        return map(rows_of.to_trace_row, self._all(f"SELECT {rows_of.ROW_COLUMNS} {source}", values))

    def done(self, run_id: str) -> dict[tuple[str, str, int], tuple[str, bool]]:
        """(arm, example_id, repeat) to (trace id, failed) of what this run already holds."""
        source, values = _live(run_id, None, "all", " AND arm IS NOT NULL AND example_id IS NOT NULL")
        found = self._all(f"SELECT arm, example_id, repeat, id, error_kind IS NOT NULL {source}", values)
        # a million rows share a handful of names
        return {
            (sys.intern(arm), example, repeat): (id_, failed == 1)
            for arm, example, repeat, id_, failed in found
        }

    def trace(self, trace_id: str) -> Trace | None:
        row = self._one(
            "SELECT p.compressed, p.data FROM traces t JOIN payloads p ON p.seq = t.seq WHERE t.id = ?",
            (trace_id,),
        )
        return None if row is None else rows_of.from_payload(*row)

    def traces(
        self, run_id: str | None = None, *, arm: str | None = None, which: TraceFilter = "all"
    ) -> Iterator[Trace]:
        """Whole traces that count, with payloads, in order of commit."""
        source, values = _live(run_id, arm, which)
        found = self._all(
            "SELECT (SELECT compressed FROM payloads p WHERE p.seq = traces.seq), "
            f"(SELECT data FROM payloads p WHERE p.seq = traces.seq) {source}",
            values,
        )
        return (rows_of.from_payload(*row) for row in found)

    def traces_by_id(self, ids: Sequence[str], *, at_most_bytes: int | None = None) -> dict[str, Trace]:
        """The traces there are, in the order asked for; what takes more than `at_most_bytes` is left out."""
        return sqlite_views.traces_by_id(self, ids, at_most_bytes=at_most_bytes)

    def counts(self, run_id: str) -> list[ArmCounts]:
        """What each arm holds; the calls of judges under the arm None."""
        return sqlite_views.counts(self, run_id)

    def cached(self, request_key: str, *, not_in_run: str) -> Trace | None:
        """The newest trace without error that answered this very request in another run."""
        row = self._one(
            "SELECT p.compressed, p.data FROM traces t INDEXED BY traces_request JOIN payloads p ON p.seq = t.seq "
            "WHERE t.request_key = ? AND t.error_kind IS NULL AND t.superseded = 0 AND t.run_id IS NOT ? "
            "ORDER BY t.seq DESC LIMIT 1",
            (request_key, not_in_run),
        )
        return None if row is None else rows_of.from_payload(*row)

    # scores

    def scores(
        self,
        run_id: str | None = None,
        *,
        trace_id: str | None = None,
        name: str | None = None,
        history: bool = False,
    ) -> Iterator[Score]:
        """The newest score per (trace, against, name, source, by), by commit; all of them with `history`.

        Scores of superseded traces are left out unless asked for by `trace_id`.
        """
        values: list[str] = []
        where = "1" if history else "s.superseded = 0"
        if trace_id is not None:
            source = "scores s INDEXED BY scores_trace"
            where += " AND s.trace_id = ?"
            values.append(trace_id)
            if run_id is not None:
                where += " AND EXISTS (SELECT 1 FROM traces t WHERE t.id = s.trace_id AND t.run_id = ?)"
                values.append(run_id)
            order = "s.seq"
        elif run_id is not None:
            # trace by trace, each finding its few scores: no sort, whatever the number of rows
            source = "traces t INDEXED BY traces_run CROSS JOIN scores s INDEXED BY scores_trace"
            where += " AND t.run_id = ? AND t.superseded = 0 AND s.trace_id = t.id"
            values.append(run_id)
            order = "t.seq, s.seq"
        else:
            source = "scores s"
            where += " AND NOT EXISTS (SELECT 1 FROM traces t WHERE t.id = s.trace_id AND t.superseded = 1)"
            order = "s.seq"
        if name is not None:
            where += " AND s.name = ?"
            values.append(name)
        query = f"SELECT {rows_of.SCORE_COLUMNS} FROM {source} WHERE {where} ORDER BY {order}"
        return map(rows_of.to_score, self._all(query, values))

    # refs

    def ref(self, name: str) -> str | None:
        row = self._one("SELECT target FROM refs WHERE name = ?", (name,))
        return None if row is None else row[0]

    def move_ref(self, name: str, new: str | None, *, expected: str | None, by: str = "") -> bool:
        """Compare-and-swap: False, and nothing changed, where the ref isn't `expected`; `new` None removes it."""

        def move(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT target FROM refs WHERE name = ?", (name,)).fetchone()
            if (row and row[0]) != expected:
                return False
            if new is None:
                db.execute("DELETE FROM refs WHERE name = ?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO refs (name, target) VALUES (?, ?)", (name, new))
            db.execute(
                'INSERT INTO ref_log (name, old, new, at, "by") VALUES (?, ?, ?, ?, ?)',
                (name, expected, new, time.time(), by),
            )
            return True

        return bool(self._call(move))

    def refs(self, prefix: str = "") -> dict[str, str]:
        """Name to target of every ref whose name begins so, by name."""
        return dict(
            self._all(
                "SELECT name, target FROM refs WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
                (prefix,),
            )
        )

    def ref_log(self, name: str) -> list[RefMove]:
        """Every move of this ref, oldest first."""
        found = self._all('SELECT name, old, new, at, "by" FROM ref_log WHERE name = ? ORDER BY seq', (name,))
        return [RefMove(name=n, old=old, new=new, at=at, by=by) for n, old, new, at, by in found]

    # upkeep

    def rebuild_index(self) -> int:
        """The number of traces whose narrow rows were made anew from their payloads, in one transaction."""
        return int(self._call(_rebuild))

    def check(self) -> list[str]:
        """What SQLite finds damaged in the file; empty when it is sound. Reads all of it."""
        return [str(row[0]) for row in self._all("PRAGMA integrity_check", ()) if row[0] != "ok"]

    # reading

    def _one(self, query: str, values: Iterable[Any]) -> Row | None:
        with closing(self._all(query, values)) as found:
            return next(found, None)

    def _all(self, query: str, values: Iterable[Any]) -> Generator[Row, None, None]:
        with self._readers.borrow() as db, closing(db.execute(query, tuple(values))) as cursor:
            yield from cursor


class _Readers:
    """Connections that only read, lent to one query at a time."""

    _MOST_IDLE = 8

    def __init__(self, path: Path, read_only: bool, busy_timeout_s: float) -> None:
        self._path = path
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._closed = False
        self._start_over()

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []

    @contextmanager
    def borrow(self) -> Generator[sqlite3.Connection, None, None]:
        db = self._take()
        pid = self._pid
        try:
            yield db
        except sqlite3.Error as error:
            raise errors.explain(error, self._path) from error
        finally:
            if pid == os.getpid():
                self.give(db)
            else:  # an iterator that was open across a fork
                _LEFT_TO_PARENT.append(db)

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed", path=self._path)
        if self._pid != os.getpid():
            _LEFT_TO_PARENT.extend(self._idle)  # connections must not cross a fork, not even to be closed
            self._start_over()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            db = connect(self._path, read_only=self._read_only, busy_timeout_s=self._busy_timeout_s)
            db.execute("PRAGMA query_only = 1")
        except sqlite3.Error as error:
            raise errors.explain(error, self._path) from error
        return db

    def give(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < self._MOST_IDLE:
                self._idle.append(db)
                return
        db.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()


_LEFT_TO_PARENT: list[sqlite3.Connection] = []


def _call_all(closers: list[Any]) -> None:
    for close in closers:
        close()


def _live(run_id: str | None, arm: str | None, which: TraceFilter, also: str = "") -> tuple[str, list[str]]:
    """FROM, WHERE and ORDER of the traces that count, with the values in them."""
    if which not in _WHICH:
        raise StoreError(f"which={which!r}; expected one of {', '.join(map(repr, _WHICH))}")
    values: list[str] = []
    source = "FROM traces NOT INDEXED WHERE superseded = 0"
    if run_id is not None:
        # this index alone gives the order of commit without sorting
        source = "FROM traces INDEXED BY traces_run WHERE run_id = ? AND superseded = 0"
        values.append(run_id)
    if arm is not None:
        source += " AND arm = ?"
        values.append(arm)
    return f"{source}{_WHICH[which]}{also} ORDER BY seq", values


def _set_state(db: sqlite3.Connection, run_id: str, state: RunState, reason: str) -> None:
    finished_at = None if state == "running" else time.time()
    changed = db.execute(
        "UPDATE runs SET state = ?, reason = ?, finished_at = ? WHERE id = ?",
        (state, reason, finished_at, run_id),
    )
    if changed.rowcount == 0:
        raise StoreError(f"there is no run {run_id!r} in the store; `runs()` lists them")


def _rebuild(db: sqlite3.Connection) -> int:
    last, count = 0, 0
    db.execute("DELETE FROM traces")
    while True:
        some = db.execute(
            "SELECT seq, compressed, data FROM payloads WHERE seq > ? ORDER BY seq LIMIT 256", (last,)
        ).fetchall()
        if not some:
            return count
        rows = [(seq, *rows_of.trace_row(rows_of.from_payload(packed, data))) for seq, packed, data in some]
        try:
            db.executemany(rows_of.INSERT_TRACE, rows)
        except (OverflowError, UnicodeEncodeError):
            # what was inserted already takes its own place
            db.executemany(rows_of.INSERT_TRACE, [rows_of.clean_row(row) for row in rows])
        last, count = int(some[-1][0]), count + len(some)
