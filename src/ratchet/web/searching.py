"""Text search in a run's answers: an index of words beside the columns, filled in a child process, run by run.

What is found begins with every word asked for, in any order and case: `refund ti` finds "Ticket about a refund". The
words of input, output, answer and error message are indexed, the first 20,000 characters of each. Until a run's texts are
all in, ids are searched and what is there already.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet import codec
from ratchet.errors import CodecError
from ratchet.stores import sqlite_views
from ratchet.web import columns, indexing
from ratchet.web.columns import Ints, Table

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.run_columns import Report

MOST_CHARS = 20_000
"""Of one answer's texts."""
MOST_WORDS = 12
"""Of one question."""
_BATCH = 500
_WORD = re.compile(r"[^\W_]+")
_HEX = re.compile(r"[0-9a-f]{6,32}")
_SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5(
    text, content='', detail=none, columnsize=0, tokenize="unicode61 remove_diacritics 2");
CREATE TABLE IF NOT EXISTS filled (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found in one run."""

    rows: Ints
    """Numbers of rows of the run's table."""
    complete: bool
    """All texts were searched; otherwise ids, and the texts indexed so far."""


class _Recent:
    """The last few results, so that paging through one asks once."""

    def __init__(self, most: int = 8) -> None:
        self._most, self._lock = most, threading.Lock()
        self._found: OrderedDict[tuple[str, int, str], Found] = OrderedDict()

    def get(self, key: tuple[str, int, str]) -> Found | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: tuple[str, int, str], found: Found) -> None:
        if len(found.rows) > 200_000:  # a word that is everywhere: asked again rather than kept
            return
        with self._lock:
            self._found[key] = found
            while len(self._found) > self._most:
                self._found.popitem(last=False)


_RECENT = _Recent()


def search(store: SQLiteStore, run_id: str, table: Table, text: str) -> Found:
    """Rows of a run whose texts have words that begin so, or whose ids hold the text."""
    filled = filled_to(store.path, run_id)
    complete = filled >= sqlite_views.newest_trace(store, run_id)
    if not complete:
        indexing.ensure(store.path, "texts", run_id)
    key = str(table.folder), filled, text
    found = _RECENT.get(key)
    if found is None:
        rows = np.concatenate([_by_id(table, text), _by_words(store.path, table, text)])
        found = Found(rows=np.unique(rows), complete=complete)
        _RECENT.put(key, found)
    return found


def search_all(store: SQLiteStore, text: str, *, most: int) -> tuple[list[int], bool]:
    """Places in the order of commit of the newest answers of all runs with words that begin so; whether all are indexed."""
    runs = [row.id for row in store.runs()]
    missing = [run for run in runs if filled_to(store.path, run) < sqlite_views.newest_trace(store, run)]
    for run in missing[:1]:  # one after another: the page asks again
        indexing.ensure(store.path, "texts", run)
    words, path = [word.lower() for word in _WORD.findall(text)][:MOST_WORDS], _database(store.path)
    if not words or not path.exists():
        return [], not missing
    query = "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rowid DESC LIMIT ?"
    try:
        with closing(_open(path)) as db:
            return [int(row[0]) for row in db.execute(query, (_question(words), most))], not missing
    except sqlite3.Error:  # being made at this moment
        return [], False


def _question(words: list[str]) -> str:
    """The words in the index's own language: quoted, and none of them holds a quote."""
    return " AND ".join(f'"{word}" *' for word in words)


def filled_to(store: Path, run_id: str) -> int:
    """Up to which place in the order of commit this run's texts are in the index."""
    path = _database(store)
    if not path.exists():
        return 0
    try:
        with closing(_open(path)) as db:
            row = db.execute("SELECT seq FROM filled WHERE run_id = ?", (run_id,)).fetchone()
    except sqlite3.Error:  # being made at this moment
        return 0
    return int(row[0]) if row else 0


def fill(store: Path, run_id: str, report: Report) -> None:
    """Put the texts of a run into the index, from where it stands."""
    path = _database(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite_store(store) as kept, closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        start = filled_to(store, run_id)
        last = sqlite_views.newest_trace(kept, run_id)
        total = sqlite_views.size(kept, run_id)
        batch: list[tuple[int, str]] = []
        done = 0
        for seq, compressed, data in sqlite_views.payloads(kept, run_id, after=start):
            batch.append((seq, _text(compressed, data)))
            if len(batch) == _BATCH:
                _put(db, run_id, batch, batch[-1][0])
                done += len(batch)
                batch = []
                report("indexing texts", done, total)
        _put(db, run_id, batch, max(last, batch[-1][0] if batch else 0))


def sqlite_store(path: Path) -> SQLiteStore:
    """The store, to be read."""
    from ratchet.stores.sqlite import SQLiteStore

    return SQLiteStore(path, read_only=True)


def _put(db: sqlite3.Connection, run_id: str, batch: list[tuple[int, str]], last: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", batch)
    db.execute("INSERT OR REPLACE INTO filled (run_id, seq) VALUES (?, ?)", (run_id, last))
    db.execute("COMMIT")


def _text(compressed: int, data: bytes) -> str:
    """What one answer's searchers may look for."""
    try:
        trace = codec.parse(zlib.decompress(data) if compressed else data)
    except (CodecError, zlib.error):
        return ""
    error: Any = trace.get("error")
    parts = (trace.get("example_id"), trace.get("input"), trace.get("output"), trace.get("answer"),
             trace.get("refusal"), error.get("message") if isinstance(error, dict) else None)  # fmt: skip
    pieces: list[str] = []
    left = MOST_CHARS
    for piece in _strings(parts):
        pieces.append(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return codec.clean_text("\n".join(pieces))


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, in order, without recursion: a hostile one may be nested deep."""
    stack: list[Any] = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            stack.extend(reversed(one.values()))
        elif isinstance(one, (list, tuple)):
            stack.extend(reversed(one))
        elif isinstance(one, (int, float)) and not isinstance(one, bool):
            yield str(one)


def _by_id(table: Table, text: str) -> Ints:
    wanted = text.strip()
    rows = table.holding("example", wanted)
    if _HEX.fullmatch(wanted.lower()):
        head = np.frombuffer(bytes.fromhex(wanted.lower()[: len(wanted) // 2 * 2]), np.uint8)
        alike = (table.values("trace")[:, : len(head)] == head).all(axis=1)
        rows = np.concatenate([rows, np.flatnonzero(alike)])
    return rows


def _by_words(store: Path, table: Table, text: str) -> Ints:
    words = [word.lower() for word in _WORD.findall(text)][:MOST_WORDS]
    path = _database(store)
    seqs = table.values("seq")
    if not words or not len(seqs) or not path.exists():
        return np.zeros(0, np.int64)
    query = "SELECT rowid FROM texts WHERE texts MATCH ? AND rowid BETWEEN ? AND ?"
    try:
        with closing(_open(path)) as db:
            found = db.execute(query, (_question(words), int(seqs[0]), int(seqs[-1])))
            matches = np.fromiter((row[0] for row in found), np.float64)
    except sqlite3.Error:  # being made at this moment
        return np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(seqs, matches), len(seqs) - 1)
    return at[seqs[at] == matches]


def _database(store: Path) -> Path:
    return columns.views_of(store) / "search.db"


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
    db.execute("PRAGMA query_only = 1")
    return db
