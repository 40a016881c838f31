"""Tokens, looks at held-out data and the page's own secret in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable
from typing import Any

from ratchet.ports import AccessToken, Look
from ratchet.stores.sqlite_rows import Row
from ratchet.stores.sqlite_writer import Call


class AccessTables:
    """The part of `SQLiteStore` that keeps who may see it, and who looked at what."""

    def _call(self, call: Call) -> Any:
        raise TypeError(f"{type(self).__name__} must say how a call is made inside a transaction")

    def _all(self, query: str, values: Iterable[Any]) -> Generator[Row, None, None]:
        raise TypeError(f"{type(self).__name__} must say how rows are read")

    def add_token(self, token: AccessToken) -> bool:
        """Keep a new token; False, and nothing was kept, where one of that name is still good."""

        def add(db: sqlite3.Connection) -> bool:
            query = "SELECT 1 FROM access_tokens WHERE name = ? AND revoked_at IS NULL"
            if db.execute(query, (token.name,)).fetchone():
                return False
            db.execute(
                "INSERT INTO access_tokens (hash, name, role, created_at, revoked_at) VALUES (?, ?, ?, ?, NULL)",
                (token.hash, token.name, token.role, token.created_at),
            )
            return True

        return bool(self._call(add))

    def revoke_token(self, name: str, *, at: float) -> bool:
        """End the good token of this name; False where there is none."""

        def revoke(db: sqlite3.Connection) -> bool:
            query = "UPDATE access_tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL"
            return db.execute(query, (at, name)).rowcount > 0

        return bool(self._call(revoke))

    def tokens(self) -> list[AccessToken]:
        """All of them, those revoked included, newest first."""
        query = "SELECT hash, name, role, created_at, revoked_at FROM access_tokens ORDER BY created_at DESC, hash"
        return [
            AccessToken(hash=h, name=name, role=role, created_at=created, revoked_at=revoked)
            for h, name, role, created, revoked in self._all(query, ())
        ]

    def note_look(self, look: Look) -> None:
        """Remember that somebody saw examples of a split; looks are only added."""
        values = (look.dataset_id, look.split, look.at, look.by, look.what)
        self._call(
            lambda db: db.execute(
                'INSERT INTO looks (dataset_id, split, at, "by", what) VALUES (?, ?, ?, ?, ?)', values
            )
        )

    def looks(self, dataset_id: str, *, split: str | None = None) -> list[Look]:
        """Who saw examples of this dataset, or of one split of it, oldest first."""
        query = 'SELECT dataset_id, split, at, "by", what FROM looks WHERE dataset_id = ?'
        values = [dataset_id]
        if split is not None:
            query += " AND split = ?"
            values.append(split)
        return [
            Look(dataset_id=dataset, split=part, at=at, by=by, what=what)
            for dataset, part, at, by, what in self._all(f"{query} ORDER BY seq", values)
        ]

    def keep_secret(self, name: str, fresh: str) -> str:
        """The secret kept under this name; `fresh` is kept, and returned, where there was none."""
        key = f"secret:{name}"
        for (value,) in self._all("SELECT value FROM meta WHERE key = ?", (key,)):
            return str(value)

        def keep(db: sqlite3.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (key, fresh))
            return str(db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

        return str(self._call(keep))
