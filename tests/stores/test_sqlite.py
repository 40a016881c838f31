from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import MakeStore, StoreContract


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: SQLiteStore(tmp_path / "ratchet.db")
