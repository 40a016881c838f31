from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ratchet.errors import StoreError
from ratchet.ports import LabelItem, LabelQueue
from ratchet.records import Score
from ratchet.stores.sqlite import SQLiteStore
from ratchet.stores.sqlite_schema import MIGRATIONS
from ratchet.testing.stores import MakeStore, StoreContract, a_full_trace, a_run, a_trace

from . import make_fixture


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda: SQLiteStore(tmp_path / "ratchet.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as store:
        yield store


def run_python(code: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """The finished child, which must not have failed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_lists_and_statistics_need_no_payload(store: SQLiteStore, path: Path) -> None:
    metadata = {"predicted": ["a"], "expected": ["b"]}
    store.write([a_trace("t"), Score(trace_id="t", name="s", value=frozenset({"a"}), metadata=metadata)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE payloads")
    assert [row.id for row in store.rows("run")] == ["t"]
    assert store.done("run") == {("a", "1", 0): ("t", False)}
    assert [score.metadata for score in store.scores("run")] == [metadata]


def test_the_index_is_rebuilt_from_payloads_alone(store: SQLiteStore, path: Path) -> None:
    store.write([a_trace(str(n), example_id=str(n % 300), request_key=f"k{n}") for n in range(600)])
    store.write([a_full_trace("full"), a_trace("wild", model="\ud800", output_tokens=2**70, example_id="w")])
    before = list(store.rows())
    with closing(sqlite3.connect(path)) as db:
        narrow = db.execute("SELECT * FROM traces ORDER BY seq").fetchall()
        db.execute("DELETE FROM traces WHERE seq % 2")
        db.execute("UPDATE traces SET cost_usd = 99, superseded = 1, id = id || 'x' WHERE seq < 100")
        db.commit()
    assert store.rebuild_index() == 602
    assert list(store.rows()) == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM traces ORDER BY seq").fetchall() == narrow
    store.write([a_trace("next", example_id="next")])
    assert [row.id for row in store.rows()][-1] == "next"


def test_writes_that_wait_share_a_commit(store: SQLiteStore) -> None:
    statements: list[str] = []
    assert store._writer is not None
    store._writer.call(lambda db: db.set_trace_callback(statements.append))

    async def everyone() -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(500):
                group.create_task(store.awrite([a_trace(str(n), example_id=str(n))]))

    asyncio.run(everyone())
    assert statements.count("COMMIT") < 100
    assert sum(1 for _ in store.rows()) == 500


def test_a_batch_that_the_database_refuses_fails_alone_and_in_full(store: SQLiteStore, path: Path) -> None:
    async def one(n: int) -> bool:
        # NaN is no time: SQLite takes it for NULL, which the column refuses
        bad = a_trace(f"bad-{n}", example_id=f"bad-{n}", created_at=float("nan") if n == 7 else 0.0)
        try:
            await store.awrite([a_trace(str(n), example_id=str(n)), bad])
        except StoreError:
            return False
        return True

    async def everyone() -> list[bool]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(n)) for n in range(20)]
        return [task.result() for task in tasks]

    assert [n for n, kept in enumerate(asyncio.run(everyone())) if not kept] == [7]
    store.close()
    with SQLiteStore(path) as again:
        kept = {row.id for row in again.rows("run")}
        assert kept == {id for n in range(20) if n != 7 for id in (str(n), f"bad-{n}")}
        assert again.trace("7") is None


def test_long_payloads_are_kept_compressed(store: SQLiteStore, path: Path) -> None:
    store.write([a_trace("long", output="word " * 100_000), a_trace("short", example_id="2", output="word")])
    with closing(sqlite3.connect(path)) as db:
        sizes = dict(db.execute("SELECT id, length(data) FROM payloads JOIN traces USING (seq)").fetchall())
        plain = db.execute(
            "SELECT CAST(data AS TEXT) ->> 'output' FROM payloads JOIN traces USING (seq) WHERE id = 'short'"
        )
        assert plain.fetchone() == ("word",)
    assert sizes["long"] < 10_000


def test_reading_many_rows_holds_few_in_memory(store: SQLiteStore) -> None:
    store.write(
        record
        for n in range(4000)
        for record in (
            a_trace(str(n), example_id=str(n), output="x" * 1000),
            Score(trace_id=str(n), name="s", value=True),
        )
    )
    list(store.rows("none"))
    tracemalloc.start()
    try:
        counts = [
            sum(1 for _ in many) for many in (store.rows("run"), store.traces("run"), store.scores("run"))
        ]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts == [4000, 4000, 4000]
    assert peak < 300_000


@pytest.mark.parametrize(
    "query",
    [
        {"run_id": "run"},
        {"run_id": "run", "arm": "a"},
        {"run_id": "run", "which": "failed"},
        {},
        {"arm": "a"},
    ],
)
def test_lists_come_in_order_without_sorting(store: SQLiteStore, path: Path, query: dict[str, str]) -> None:
    from ratchet.stores.sqlite import _live

    source, values = _live(query.get("run_id"), query.get("arm"), query.get("which", "all"))  # pyright: ignore[reportArgumentType]
    with closing(sqlite3.connect(path)) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT id {source}", values).fetchall()
    assert not any("TEMP B-TREE" in str(step) for step in plan)


def test_a_store_of_version_1_opens_and_reads_as_it_was_written(path: Path) -> None:
    assert len(MIGRATIONS) == 3, "when a version is released, keep a fixture of it, made by its code"
    shutil.copy(make_fixture.DATA / "v1.db", path)
    with SQLiteStore(path) as store:
        for trace in make_fixture.TRACES:
            assert store.trace(trace.id) == trace
        assert [row.id for row in store.rows("run")] == ["full", "new", "long"]
        assert list(store.scores("run")) == list(make_fixture.SCORES[1:])
        assert store.run("run") == a_run(name="first")
        assert [(row.state, row.reason) for row in store.runs()] == [("stopped", "budget spent")]
        assert store.content("c1") == {"model": "m"}
        assert store.ref("serve/bot") == "v2"
        assert len(store.ref_log("serve/bot")) == 2
        store.write([a_trace("more", example_id="more")])
        queue = LabelQueue(id="q", created_at=1.0, data={})
        store.save_queue(queue, [LabelItem(queue_id="q", position=0, slot=0, trace_id="new")])
        assert store.label_queues() == [queue]
        assert store.check() == []


def test_the_parent_store_goes_on_and_the_child_has_its_own_after_a_fork(path: Path) -> None:
    code = """
import os, sys
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace
store = SQLiteStore(sys.argv[1])
store.write([a_trace(str(n), example_id=str(n)) for n in range(3)])
reading = store.rows("run")
next(reading)
child = os.fork()
if child == 0:
    next(reading)
    del reading
    store.write([a_trace("child", example_id="child")])
    assert store.trace("0") is not None
    store.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert [row.id for row in reading] == ["1", "2"]
store.write([a_trace("parent", example_id="parent")])
print(*[row.id for row in store.rows("run")])
"""
    assert run_python(code, path).stdout.split() == ["0", "1", "2", "child", "parent"]


def test_what_was_handed_over_is_kept_when_the_program_ends_without_closing(path: Path) -> None:
    code = """
import asyncio, sys
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace
store = SQLiteStore(sys.argv[1])

async def main():
    tasks = [asyncio.ensure_future(store.awrite([a_trace(str(n), example_id=str(n))])) for n in range(200)]
    await asyncio.sleep(0)  # handed over; nobody waits for them

asyncio.run(main())
"""
    run_python(code, path)
    with SQLiteStore(path) as store:
        assert sum(1 for _ in store.rows("run")) == 200
        assert not Path(f"{path}-wal").stat().st_size, "the program before left its log behind"


def test_a_store_that_nobody_holds_any_more_ends_its_thread(path: Path) -> None:
    store = SQLiteStore(path)
    store.write([a_trace("t")])
    assert "ratchet-store" in {thread.name for thread in threading.enumerate()}
    del store
    gc.collect()
    assert "ratchet-store" not in {thread.name for thread in threading.enumerate()}


def test_a_cancelled_wait_leaves_the_store_working(store: SQLiteStore) -> None:
    async def main() -> None:
        task = asyncio.create_task(store.awrite([a_trace("1")]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.awrite([a_trace("2", example_id="2")])

    asyncio.run(main())
    assert [row.id for row in store.rows()] == ["1", "2"]


WRITER = """
import sys
from ratchet.stores.sqlite import SQLiteStore
from ratchet.errors import StoreError
from ratchet.records import Score
from ratchet.testing.stores import a_trace
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SQLiteStore(path)
for n in range(count):
    id = f"{name}-{n}"
    store.write([a_trace(id, example_id=id, output="x" * 500), Score(trace_id=id, name="s", value=n / 2)])
    sys.stdout.write(id + "\\n")
    sys.stdout.flush()
"""


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_whatever_was_acknowledged_survives_sigkill(path: Path) -> None:
    acknowledged: list[str] = []
    for turn in range(10):
        with start_writer(path, f"w{turn}", 1_000_000) as child:
            assert child.stdout is not None
            for _ in range(1 + turn * 37 % 200):
                acknowledged.append(child.stdout.readline().strip())
            os.kill(child.pid, signal.SIGKILL)
            acknowledged.extend(line.strip() for line in child.stdout if line.endswith("\n"))
    with SQLiteStore(path) as store:
        assert store.check() == []
        kept = [row.id for row in store.rows("run")]
        assert set(acknowledged) <= set(kept)
        assert len(kept) == len(set(kept)) <= len(acknowledged) + 10
        assert {score.trace_id for score in store.scores("run")} == set(kept)
        assert all(store.trace(id) is not None for id in kept)


@pytest.mark.slow
def test_two_processes_write_while_two_read(path: Path) -> None:
    SQLiteStore(path).close()
    reader = """
import sys
from ratchet.stores.sqlite import SQLiteStore
store, seen = SQLiteStore(sys.argv[1], read_only=True), 0
while seen < 400:
    ids = [row.id for row in store.rows("run")]
    assert len(ids) >= seen, (len(ids), seen)
    assert len(list(store.scores("run"))) >= len(ids)
    seen = len(ids)
print(seen)
"""
    readers = [
        subprocess.Popen([sys.executable, "-c", reader, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    writers = [start_writer(path, name, 200) for name in ("x", "y")]
    for child in (*writers, *readers):
        child.communicate(timeout=60)
        assert child.returncode == 0
    with SQLiteStore(path) as store:
        ids = {row.id for row in store.rows("run")}
        assert ids == {f"{name}-{n}" for name in "xy" for n in range(200)}
        assert store.check() == []
