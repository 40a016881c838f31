"""One thread that writes: everything waiting goes into one transaction (group commit)."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ratchet.errors import StoreError
from ratchet.stores import sqlite_errors as errors, sqlite_rows as rows_of
from ratchet.stores.sqlite_rows import Rows

Call = Callable[[sqlite3.Connection], Any]

_HANDED_OVER = 32
"""Jobs that go to the thread at once, before the loop's turn has ended."""
_ROWS_A_STATEMENT = 16
_MOST_JOBS = 4096
"""Jobs in one transaction, so that a flood of small writes doesn't make all of them wait for the last."""


class _Job:
    """Rows to write, or a call to make inside the transaction; and who waits for it."""

    __slots__ = ("call", "done", "error", "future", "loop", "result", "rows")

    def __init__(self, rows: Rows | None, call: Call | None = None) -> None:
        self.rows = rows
        self.call = call
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[None] | None = None
        self.done: threading.Lock | None = None
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Owns the one connection that writes. Its thread starts with the first job."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], db: sqlite3.Connection) -> None:
        self._path = path
        self._connect = connect
        self._db: sqlite3.Connection | None = db
        self._start_over()

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, rows: Rows) -> None:
        """Commit these rows, blocking."""
        self._wait(_Job(rows))

    def call(self, call: Call) -> Any:
        """What the function returns, called with the connection inside a transaction, and committed."""
        return self._wait(_Job(None, call))

    async def awrite(self, rows: Rows) -> None:
        """Commit these rows; cancelling the wait doesn't take them back.

        What one turn of the event loop writes is handed over together: waking the thread costs more than a row.
        """
        job = _Job(rows)
        job.loop = asyncio.get_running_loop()
        job.future = job.loop.create_future()
        self._ready()
        with self._lock:
            self._check_open()
            self._gathered.append(job)
            first = len(self._gathered) == 1
            if len(self._gathered) >= _HANDED_OVER:  # a long turn need not end before the thread begins
                self._enqueue()
        if first:
            job.loop.call_soon(self._hand_over)
        await job.future

    def _hand_over(self) -> None:
        with self._lock:
            if self._gathered and not self._closed:
                self._enqueue()

    def close(self) -> None:
        """Commit what waits, end the thread and close the connection; a second call does nothing."""
        if self._pid != os.getpid():  # a forked child: thread and connection are the parent's
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._gathered:
                self._enqueue()
            thread = self._thread
            self._queue.put(None)
        if thread is None:
            self._disconnect()
        elif thread is not threading.current_thread():  # garbage is collected in any thread
            thread.join()

    def _wait(self, job: _Job) -> Any:
        job.done = threading.Lock()
        job.done.acquire()
        self._put(job)
        job.done.acquire()
        if job.error is not None:
            raise job.error
        return job.result

    def _put(self, job: _Job) -> None:
        self._ready()
        with self._lock:
            self._check_open()
            self._gathered.append(job)
            self._enqueue()

    def _ready(self) -> None:
        if self._pid != os.getpid():
            # SQLite's connections must not cross a fork: leave the parent's alone, not even closing it
            _LEFT_TO_PARENT.append(self._db)
            self._db = None
            self._start_over()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed", path=self._path)

    def _enqueue(self) -> None:
        """Hand what was gathered to the thread, in order; the lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ratchet-store", daemon=True)
            self._thread.start()
        self._queue.put(self._gathered)
        self._gathered = []

    # what follows runs in the thread

    def _work(self) -> None:
        closing = False
        while not closing:
            jobs, closing = self._gather()
            if jobs:
                self._commit(jobs)
        self._disconnect()

    def _gather(self) -> tuple[list[_Job], bool]:
        """Everything waiting, at least one; and whether it was the last."""
        jobs: list[_Job] = []
        some = self._queue.get()
        try:
            while some is not None:
                jobs.extend(some)
                if len(jobs) >= _MOST_JOBS:
                    return jobs, False
                some = self._queue.get_nowait()
        except queue.Empty:
            return jobs, False
        return jobs, True

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._db is None:
                self._db = self._connect()
            self._db.execute("BEGIN IMMEDIATE")
            for kind, some in groupby(jobs, key=_is_call):
                if kind:
                    for job in some:
                        assert job.call is not None
                        job.result = job.call(self._db)
                else:
                    _insert(self._db, [job.rows for job in some if job.rows is not None])
            self._db.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            self._recover(jobs, error)
        else:
            _resolve(jobs)

    def _recover(self, jobs: list[_Job], error: Exception) -> None:
        """Reject the jobs, or try again without the fault where one of them is to blame."""
        if not _blames_a_job(error):
            for job in jobs:
                job.error = errors.explain(error, self._path)
            _resolve(jobs)
        elif len(jobs) > 1:
            for job in jobs:
                self._commit([job])
        elif isinstance(error, (OverflowError, UnicodeEncodeError)) and (rows := jobs[0].rows) is not None:
            cleaned = rows_of.clean(rows)
            if cleaned == rows:
                jobs[0].error = errors.explain(error, self._path)
                _resolve(jobs)
            else:
                jobs[0].rows = cleaned
                self._commit(jobs)
        else:
            jobs[0].error = errors.explain(error, self._path)
            _resolve(jobs)

    def _roll_back(self) -> None:
        if self._db is None or not self._db.in_transaction:
            return
        try:
            self._db.execute("ROLLBACK")
        except sqlite3.Error:
            # a connection that can't even do this is of no use; the next job gets a new one
            self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


_LEFT_TO_PARENT: list[sqlite3.Connection | None] = []


def _is_call(job: _Job) -> bool:
    return job.call is not None


def _blames_a_job(error: Exception) -> bool:
    """Whether the data or the call is at fault, and not the file, the disk or a lock."""
    if isinstance(error, (OSError, MemoryError)):
        return False
    if isinstance(error, sqlite3.DatabaseError):
        return isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError))
    return True


def _insert(db: sqlite3.Connection, batches: list[Rows]) -> None:
    traces = [row for batch in batches for row in batch.traces]
    if traces:
        first = int(db.execute("SELECT ifnull(max(seq), 0) + 1 FROM payloads").fetchone()[0])
        payloads = (row for batch in batches for row in batch.payloads)
        _put_all(db, rows_of.INSERT_TRACE, [(seq, *row) for seq, row in enumerate(traces, first)])
        _put_all(db, rows_of.INSERT_PAYLOAD, [(seq, *row) for seq, row in enumerate(payloads, first)])
    scores = [row for batch in batches for row in batch.scores]
    if scores:
        first = int(db.execute("SELECT ifnull(max(seq), 0) + 1 FROM scores").fetchone()[0])
        _put_all(db, rows_of.INSERT_SCORE, [(seq, *row) for seq, row in enumerate(scores, first)])
        details = list(_far(batches, first))
        if details:
            _put_all(db, rows_of.INSERT_DETAILS, details)


def _put_all(db: sqlite3.Connection, insert: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert these rows, several a statement: each statement waits once for the interpreter's lock, which a busy
    event loop gives up only every few milliseconds."""
    head, _, values = insert.partition(" VALUES ")
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        some = rows[start : start + _ROWS_A_STATEMENT]
        db.execute(f"{head} VALUES {', '.join([values] * len(some))}", [cell for row in some for cell in row])


def _far(batches: list[Rows], first: int) -> Iterator[tuple[int, str]]:
    texts = (text for batch in batches for text in batch.far)
    return ((seq, text) for seq, text in enumerate(texts, first) if text is not None)


def _resolve(jobs: list[_Job]) -> None:
    """Tell every waiter; one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if job.loop is not None:
            by_loop.setdefault(job.loop, []).append(job)
        elif job.done is not None:
            job.done.release()
    for loop, some in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, some)
        except RuntimeError:
            # the loop is closed, and with it everyone who waited; the rows are kept
            continue


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future is None or job.future.done():  # cancelled while it waited
            continue
        if job.error is None:
            job.future.set_result(None)
        else:
            job.future.set_exception(job.error)
