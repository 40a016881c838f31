from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as store:
        yield store


def thread_of(store: SQLiteStore) -> object:
    assert store._writer is not None
    return store._writer._thread


def test_small_writes_of_an_event_loop_need_no_thread(store: SQLiteStore) -> None:
    async def some() -> None:
        for n in range(50):
            await store.awrite([a_trace(str(n), example_id=str(n))])

    asyncio.run(some())
    assert thread_of(store) is None
    assert [row.id for row in store.rows()] == [str(n) for n in range(50)]


def test_a_large_write_is_left_to_the_thread(store: SQLiteStore) -> None:
    asyncio.run(store.awrite([a_trace("1", output=os.urandom(400_000).hex())]))
    assert thread_of(store) is not None
    assert store.trace("1") is not None


def test_the_event_loop_goes_on_while_another_process_holds_the_lock(store: SQLiteStore, path: Path) -> None:
    async def write_and_count() -> int:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(store.awrite([a_trace("1")]))
            turns = 0
            end = time.perf_counter() + 0.1
            while time.perf_counter() < end:
                await asyncio.sleep(0.001)
                turns += 1
            assert not writing.done()
            other.execute("ROLLBACK")
        await writing
        return turns

    assert asyncio.run(write_and_count()) > 10
    assert [row.id for row in store.rows()] == ["1"]


def test_writes_of_a_loop_and_of_threads_are_all_kept_in_each_ones_order(store: SQLiteStore) -> None:
    async def from_the_loop(name: str) -> None:
        for n in range(60):
            await store.awrite([a_trace(f"{name}-{n}", example_id=f"{name}-{n}")])

    def from_a_thread(name: str) -> None:
        for n in range(60):
            store.write([a_trace(f"{name}-{n}", example_id=f"{name}-{n}")])

    async def everyone() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(from_the_loop(name))
            for name in "xyz":
                group.create_task(asyncio.to_thread(from_a_thread, name))

    asyncio.run(everyone())
    ids = [row.id for row in store.rows()]
    for name in "abcxyz":
        assert [id for id in ids if id.startswith(name)] == [f"{name}-{n}" for n in range(60)]


def test_the_log_is_copied_into_the_file_while_a_loop_writes(store: SQLiteStore, path: Path) -> None:
    async def many() -> None:
        for n in range(12):
            rows = [a_trace(f"{n}-{i}", example_id=f"{n}-{i}", output="x" * 3000) for i in range(200)]
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    group.create_task(store.awrite([row]))
            await asyncio.sleep(0.01)

    asyncio.run(many())
    store.flush()
    assert path.stat().st_size > 1_000_000, "everything is in the log still"
    assert sum(1 for _ in store.rows()) == 2400
