"""One connection that writes: everything waiting goes into one transaction (group commit).

Small batches of an event loop are committed between two of its turns, for handing them to a thread costs more than
the commit: several milliseconds until a busy interpreter lets the thread run, once a statement. A thread takes what
may wait: large batches, another process's lock, the copying of the log into the file, and every error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
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

_log = logging.getLogger(__name__)

Call = Callable[[sqlite3.Connection], Any]

_GATHERED = 32
"""Jobs that are committed at once, before the loop's turn has ended."""
_INLINE_BYTES = 256 * 1024
"""More than this is for the thread: the event loop should not wait for it."""
_CHECKPOINT_JOBS = 1024
"""After so many inline jobs the thread copies the log into the file, over a connection of its own."""
_LOG_PAGES = 4096
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
    """Owns the one connection that writes. Its thread starts with the first job that it is given."""

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        db: sqlite3.Connection,
        *,
        busy_timeout_s: float,
    ) -> None:
        self._path = path
        self._connect = connect
        self._busy_timeout_s = busy_timeout_s
        self._db: sqlite3.Connection | None = db
        self._start_over()

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._handed_over = 0
        """Batches that the thread has not committed yet: while there are any, the connection is the thread's."""
        self._since_checkpoint = 0
        self._inline = False
        """How the connection is set: not to wait for a lock nor to copy the log, or to do both."""
        self._closed = False

    def write(self, rows: Rows) -> None:
        """Commit these rows, blocking."""
        self._wait(_Job(rows))

    def call(self, call: Call) -> Any:
        """What the function returns, called with the connection inside a transaction, and committed."""
        return self._wait(_Job(None, call))

    async def awrite(self, rows: Rows) -> None:
        """Commit these rows; cancelling the wait doesn't take them back.

        What one turn of the event loop writes is committed together.
        """
        job = _Job(rows)
        job.loop = asyncio.get_running_loop()
        job.future = job.loop.create_future()
        self._ready()
        with self._lock:
            self._check_open()
            self._gathered.append(job)
            first = len(self._gathered) == 1
            if len(self._gathered) >= _GATHERED:  # a long turn need not end first
                self._commit_or_enqueue()
        if first:
            job.loop.call_soon(self._end_turn)
        await job.future

    def _end_turn(self) -> None:
        with self._lock:
            if self._gathered and not self._closed:
                self._commit_or_enqueue()

    def _commit_or_enqueue(self) -> None:
        """Commit what was gathered here and now, or leave it to the thread; the lock is held."""
        jobs = self._gathered
        if self._may_inline(jobs) and self._commit_inline(jobs):
            self._gathered = []
            _resolve(jobs)
            self._since_checkpoint += len(jobs)
            if self._since_checkpoint >= _CHECKPOINT_JOBS:
                self._since_checkpoint = 0
                self._hand_over([])
        else:
            self._enqueue()

    def _may_inline(self, jobs: list[_Job]) -> bool:
        if self._handed_over or self._db is None:
            return False
        size = 0
        for job in jobs:
            if job.rows is None:
                return False
            size += job.rows.size()
        return size <= _INLINE_BYTES

    def _commit_inline(self, jobs: list[_Job]) -> bool:
        """Whether the jobs were committed; where not, nothing has changed, and the thread finds out why."""
        assert self._db is not None
        try:
            self._set_inline(True)
            self._db.execute("BEGIN IMMEDIATE")
            insert(self._db, [job.rows for job in jobs if job.rows is not None])
            self._db.execute("COMMIT")
        except Exception:  # the thread meets the same error, and explains it
            self._roll_back()
            return False
        return True

    def _set_inline(self, inline: bool) -> None:
        if self._db is not None and self._inline != inline:
            self._db.execute(f"PRAGMA busy_timeout = {0 if inline else int(self._busy_timeout_s * 1000)}")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {0 if inline else _LOG_PAGES}")
            self._inline = inline

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
        self._handed_over += 1
        self._hand_over(self._gathered)
        self._gathered = []

    def _hand_over(self, batch: list[_Job]) -> None:
        """Give the thread a batch to commit, or an empty one to checkpoint after."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ratchet-store", daemon=True)
            self._thread.start()
        self._queue.put(batch)

    # what follows runs in the thread

    def _work(self) -> None:
        closing = False
        while not closing:
            batches, closing = self._gather()
            jobs = [job for batch in batches for job in batch]
            if jobs:
                self._commit(jobs)
                with self._lock:
                    self._handed_over -= sum(1 for batch in batches if batch)
            if not closing and not all(batches):
                self._checkpoint()
        self._disconnect()

    def _gather(self) -> tuple[list[list[_Job]], bool]:
        """Every batch that waits, at least one; and whether it was the last."""
        batches: list[list[_Job]] = []
        count = 0
        some = self._queue.get()
        try:
            while some is not None:
                batches.append(some)
                count += len(some)
                if count >= _MOST_JOBS:
                    return batches, False
                some = self._queue.get_nowait()
        except queue.Empty:
            return batches, False
        return batches, True

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._db is None:
                self._db = self._connect()
                self._inline = False
            self._set_inline(False)
            self._db.execute("BEGIN IMMEDIATE")
            for kind, some in groupby(jobs, key=_is_call):
                if kind:
                    for job in some:
                        assert job.call is not None
                        job.result = job.call(self._db)
                else:
                    insert(self._db, [job.rows for job in some if job.rows is not None])
            self._db.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            self._recover(jobs, error)
        else:
            _resolve(jobs)

    def _checkpoint(self) -> None:
        """Copy of the log into the file what can be copied without waiting for anyone."""
        try:
            with contextlib.closing(self._connect()) as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, StoreError) as error:
            # nothing is lost: the rows are durable in the log, and the next checkpoint tries again
            _log.debug("the log of %s could not be copied: %s", self._path, error)

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


def insert(db: sqlite3.Connection, batches: list[Rows]) -> None:
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
            if loop is _running_loop():
                _settle(some)
            else:
                loop.call_soon_threadsafe(_settle, some)
        except RuntimeError:
            # the loop is closed, and with it everyone who waited; the rows are kept
            continue


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future is None or job.future.done():  # cancelled while it waited
            continue
        if job.error is None:
            job.future.set_result(None)
        else:
            job.future.set_exception(job.error)
