"""The project's store, opened when the first page needs it and closed with the process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ratchet.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ratchet.stores.sqlite import SQLiteStore


class NoStoreError(StoreError):
    """There is no store yet: nothing was run here."""


class Stores:
    """Gives one open store to all threads of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._open: SQLiteStore | None = None

    def get(self) -> SQLiteStore:
        """The store, brought to the present version where an older Ratchet wrote it.

        Raises:
            NoStoreError: There is none; looking at a page makes none.
            StoreError: It can't be opened; its kinds say why.
        """
        with self._lock:
            if self._open is None:
                if not self.path.exists():
                    raise NoStoreError(f"there is no store at {self.path} yet", path=self.path)
                from ratchet.stores.sqlite import SQLiteStore

                self._open = SQLiteStore(self.path)
            return self._open

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None
