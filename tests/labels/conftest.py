from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.ports import Store
from ratchet.records import Run
from ratchet.stores import open_store

from .desk import a_desk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "ratchet.db"))
    yield opened
    opened.close()


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    return a_desk(store, tmp_path)
