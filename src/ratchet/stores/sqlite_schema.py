"""The tables, their versions, and how a file is opened.

`MIGRATIONS` only grows: a released one is never changed, and a file of any earlier version is brought forward
when it is opened for writing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ratchet.errors import StoreError, StoreVersionError
from ratchet.stores import sqlite_errors as errors

APPLICATION_ID = 0x52544348
"""In every store's header: "RTCH"."""

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: list[Migration] = []
_MAGIC = b"SQLite format 3\x00"
_WAL_FORMAT = 2


def migration(function: Migration) -> Migration:
    """Add a step; its place in the list is the version that it leads to."""
    MIGRATIONS.append(function)
    return function


@migration
def m001_initial(db: sqlite3.Connection) -> None:
    # `seq` is the order of commit; text stands last in a row, so that a scan of the rest can skip it
    for statement in (
        """CREATE TABLE traces (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL, run_id TEXT, arm TEXT, example_id TEXT,
            repeat INTEGER NOT NULL, "group" TEXT, release_id TEXT, sticky_key TEXT, shadow_of TEXT,
            model TEXT, finish_reason TEXT, refused INTEGER NOT NULL, unparsable INTEGER NOT NULL,
            input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
            cost_usd REAL, ttft_s REAL, latency_s REAL, queue_s REAL, attempts INTEGER NOT NULL,
            error_kind TEXT, cached INTEGER NOT NULL, created_at REAL NOT NULL,
            request_key TEXT, superseded INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX traces_id ON traces (id)",
        "CREATE INDEX traces_run ON traces (run_id)",
        """CREATE UNIQUE INDEX traces_unit ON traces (run_id, arm, example_id, repeat)
            WHERE arm IS NOT NULL AND superseded = 0""",
        """CREATE INDEX traces_request ON traces (request_key)
            WHERE request_key IS NOT NULL AND error_kind IS NULL AND superseded = 0""",
        # one id is one trace: written again, it takes the place of what was there
        """CREATE TRIGGER traces_replace BEFORE INSERT ON traces BEGIN
            DELETE FROM payloads WHERE seq = (SELECT seq FROM traces WHERE id = NEW.id) AND seq <> NEW.seq;
            DELETE FROM traces WHERE id = NEW.id;
            UPDATE traces SET superseded = 1
                WHERE run_id = NEW.run_id AND arm = NEW.arm AND example_id = NEW.example_id
                AND repeat = NEW.repeat AND superseded = 0;
        END""",
        "CREATE TABLE payloads (seq INTEGER PRIMARY KEY, compressed INTEGER NOT NULL, data BLOB NOT NULL)",
        """CREATE TABLE scores (
            seq INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, against TEXT, name TEXT NOT NULL,
            kind TEXT, number REAL, text TEXT, source TEXT NOT NULL, "by" TEXT NOT NULL,
            dimension TEXT NOT NULL, created_at REAL NOT NULL, superseded INTEGER NOT NULL DEFAULT 0,
            details TEXT, far INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX scores_trace ON scores (trace_id)",
        """CREATE TRIGGER scores_supersede BEFORE INSERT ON scores BEGIN
            UPDATE scores SET superseded = 1
                WHERE trace_id = NEW.trace_id AND name = NEW.name AND source = NEW.source
                AND "by" = NEW."by" AND against IS NEW.against AND superseded = 0;
        END""",
        "CREATE TABLE score_details (seq INTEGER PRIMARY KEY, data TEXT NOT NULL)",
        "CREATE TABLE contents (id TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, task_id TEXT NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, created_at REAL NOT NULL, finished_at REAL, record BLOB NOT NULL)""",
        "CREATE INDEX runs_created ON runs (created_at, id)",
        "CREATE TABLE refs (name TEXT PRIMARY KEY, target TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE ref_log (
            seq INTEGER PRIMARY KEY, name TEXT NOT NULL, old TEXT, new TEXT, at REAL NOT NULL, "by" TEXT NOT NULL)""",
        "CREATE INDEX ref_log_name ON ref_log (name)",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ):
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('created_at', ?)", (str(time.time()),))


@migration
def m002_labels(db: sqlite3.Connection) -> None:
    # a label itself is a score; these say who is to look at what, and what was undone
    for statement in (
        "CREATE TABLE label_queues (id TEXT PRIMARY KEY, created_at REAL NOT NULL, data BLOB NOT NULL)",
        # a slot for each person who is to label the item
        """CREATE TABLE label_items (
            queue_id TEXT NOT NULL, position INTEGER NOT NULL, slot INTEGER NOT NULL, trace_id TEXT NOT NULL,
            against TEXT, repeat_of INTEGER, state TEXT NOT NULL, person TEXT, lease_until REAL, done_at REAL,
            details TEXT NOT NULL, PRIMARY KEY (queue_id, position, slot)) WITHOUT ROWID""",
        # with all that dealing out and counting read: texts stand in `details`
        """CREATE INDEX label_items_state ON label_items
            (queue_id, state, position, slot, person, lease_until, repeat_of)""",
        "CREATE INDEX label_items_person ON label_items (queue_id, person, position) WHERE person IS NOT NULL",
        """CREATE TABLE label_events (
            seq INTEGER PRIMARY KEY, queue_id TEXT NOT NULL, position INTEGER NOT NULL, slot INTEGER NOT NULL,
            person TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, undone INTEGER NOT NULL DEFAULT 0,
            data TEXT NOT NULL)""",
        "CREATE INDEX label_events_person ON label_events (queue_id, person, position)",
    ):
        db.execute(statement)


@migration
def m003_access(db: sqlite3.Connection) -> None:
    for statement in (
        """CREATE TABLE access_tokens (
            hash TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, created_at REAL NOT NULL,
            revoked_at REAL) WITHOUT ROWID""",
        # who saw examples of a split, and how: the holdout is used up by being looked at
        """CREATE TABLE looks (
            seq INTEGER PRIMARY KEY, dataset_id TEXT NOT NULL, split TEXT NOT NULL, at REAL NOT NULL,
            "by" TEXT NOT NULL, what TEXT NOT NULL)""",
        "CREATE INDEX looks_dataset ON looks (dataset_id, split)",
    ):
        db.execute(statement)


def connect(path: Path, *, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection in autocommit, usable from any thread (one at a time)."""
    if not read_only:
        db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    else:
        flags = "mode=ro" + ("&immutable=1" if _is_immutable(path) else "")
        uri = f"file:{quote(str(path.absolute()))}?{flags}"
        db = sqlite3.connect(
            uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _is_immutable(path: Path) -> bool:
    """Whether SQLite can't keep its shared index beside the file, and needs none as nobody can write."""
    wal = path.with_name(path.name + "-wal")
    shm = path.with_name(path.name + "-shm")
    if os.access(path.parent, os.W_OK) or shm.exists():
        return False
    return not wal.exists() or wal.stat().st_size == 0


def open_database(path: Path, *, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection to a store of the present version: made, or brought forward, where it has to be.

    Raises:
        StoreVersionError: The file is not ours, or newer; it was not changed.
        StoreError: It can't be opened; its kinds say why.
    """
    try:
        _look_at(path, read_only, busy_timeout_s)
        db = connect(path, read_only=read_only, busy_timeout_s=busy_timeout_s)
    except (sqlite3.Error, OSError) as error:
        raise errors.explain(error, path) from error
    try:
        if read_only:
            _check_version(db, path)
        else:
            _prepare(db, path)
    except (sqlite3.Error, OSError) as error:
        db.close()
        raise errors.explain(error, path) from error
    except StoreError:
        db.close()
        raise
    return db


def _look_at(path: Path, read_only: bool, busy_timeout_s: float) -> None:
    """Refuse what is not ours from its first bytes: SQLite itself may change a file that it opens."""
    if path.is_dir():
        raise StoreError(
            f"{path} is a folder; the store is one file, such as {path / 'ratchet.db'}", path=path
        )
    if not path.exists():
        if read_only:
            raise StoreError(f"there is no store at {path}.\n  `ratchet run` makes one", path=path)
        return
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return
    if not header.startswith(_MAGIC):
        raise errors.not_ours(path, "not a SQLite database")
    application_id = int.from_bytes(header[68:72], "big")
    version = int.from_bytes(header[60:64], "big")
    if application_id != APPLICATION_ID and _WAL_FORMAT not in header[18:20]:
        # another process may be writing its first page at this moment: wait for its lock
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=busy_timeout_s)) as db:
            application_id = _pragma(db, "application_id")
            version = _pragma(db, "user_version")
    if application_id != APPLICATION_ID:
        raise errors.not_ours(path, "a SQLite database of another program")
    if version > len(MIGRATIONS):
        raise errors.too_new(path, version, len(MIGRATIONS))


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if _pragma(db, "user_version") != len(MIGRATIONS):
        _migrate(db, path)
    # the header must name us before WAL: from then on it may be the log that holds the newest first page
    if str(db.execute("PRAGMA journal_mode").fetchone()[0]) != "wal":
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA journal_size_limit = 67108864")
    # ids are random, so their indices are touched everywhere: 16 MiB of pages kept, and as many in the log before
    # they are copied, cost a third less CPU at 100,000 rows than SQLite's 2 and 4
    db.execute("PRAGMA cache_size = -16384")
    db.execute("PRAGMA wal_autocheckpoint = 4096")
    # fails now, not at the first write, where the file can't be written
    db.execute("BEGIN IMMEDIATE")
    db.execute("ROLLBACK")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN EXCLUSIVE")
    try:
        version = _pragma(db, "user_version")
        if version > len(MIGRATIONS):
            raise errors.too_new(path, version, len(MIGRATIONS))
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = _pragma(db, "user_version")
    if version > len(MIGRATIONS):
        raise errors.too_new(path, version, len(MIGRATIONS))
    if version < len(MIGRATIONS):
        raise StoreVersionError(
            f"the store {path} has version {version} and must be brought to {len(MIGRATIONS)} before it can be "
            "read.\n  Open it once for writing: any `ratchet run` does it",
            path=path,
        )


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
