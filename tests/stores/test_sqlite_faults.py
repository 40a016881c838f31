from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ratchet.errors import (
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)
from ratchet.records import Trace
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace

from .test_sqlite import run_python


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path, busy_timeout_s=0.05) as store:
        yield store


def big(id: str, size: int = 200_000) -> Trace:
    """A trace that doesn't compress below the size."""
    return a_trace(id, example_id=id, output=os.urandom(size).hex())


def limit_pages(store: SQLiteStore, more: int) -> None:
    assert store._writer is not None

    def limit(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + more}")

    store._writer.call(limit)


def test_a_full_disk_rejects_the_write_and_keeps_the_store_usable(store: SQLiteStore) -> None:
    store.write([a_trace("before", example_id="before")])
    limit_pages(store, 10)
    with pytest.raises(
        StoreFullError, match=r"no space is left for the store .*ratchet\.db(.|\n)*Free space"
    ):
        store.write([a_trace("small", example_id="small"), big("big")])
    assert [row.id for row in store.rows()] == ["before"]
    store.write([a_trace("small", example_id="small")])
    limit_pages(store, 10_000)
    store.write([big("big")])
    assert [row.id for row in store.rows()] == ["before", "small", "big"]
    assert store.check() == []


def test_when_a_commit_fails_every_waiter_knows_whether_its_records_are_kept(store: SQLiteStore) -> None:
    limit_pages(store, 60)

    async def one(n: int) -> str | None:
        try:
            await store.awrite([big(str(n), 20_000)])
        except StoreFullError:
            return None
        return str(n)

    async def everyone() -> list[str | None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(n)) for n in range(30)]
        return [task.result() for task in tasks]

    kept = asyncio.run(everyone())
    assert None in kept
    assert {row.id for row in store.rows()} == {id for id in kept if id is not None}
    limit_pages(store, 10_000)
    lost = [str(n) for n, id in enumerate(kept) if id is None]
    store.write([big(id, 20_000) for id in lost])
    assert {row.id for row in store.rows()} == {str(n) for n in range(30)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(store: SQLiteStore, kept: list[str]) -> None:
    for n in range(1000):
        store.write([big(str(n), 5_000)])
        kept.append(str(n))


def test_a_disk_that_is_really_full_loses_nothing_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    path = small_disk / "ratchet.db"
    ballast = small_disk / "ballast"
    kept: list[str] = []
    with SQLiteStore(path) as store:
        ballast.write_bytes(bytes(400_000))
        with pytest.raises(StoreFullError, match="no space"):
            fill(store, kept)
        assert [row.id for row in store.rows()] == kept
        ballast.unlink()
        store.write([big("after", 5_000)])
        assert [row.id for row in store.rows()] == [*kept, "after"]
    with SQLiteStore(path) as store:
        assert store.check() == []
        assert [row.id for row in store.rows()] == [*kept, "after"]


def test_a_store_that_finds_no_room_to_begin_says_so(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(2_000_000))
    with pytest.raises(StoreFullError, match="no space"):
        SQLiteStore(small_disk / "ratchet.db")


def test_a_limit_on_file_size_is_told_as_a_full_store(path: Path) -> None:
    code = """
import resource, sys, os
from ratchet.errors import StoreFullError
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace
store = SQLiteStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    store.write([a_trace("big", example_id="big", output=os.urandom(400_000).hex())])
except StoreFullError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write([a_trace("after", example_id="after")])
print(*[row.id for row in store.rows()])
"""
    lines = run_python(code, path).stdout.splitlines()
    assert lines[0].startswith("no space is left for the store")
    assert lines[-1] == "after"


AS_NOBODY = """
import os, sys
from pathlib import Path
from ratchet.errors import StoreError
from ratchet.stores import open_store
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace
import asyncio, zlib, orjson
from ratchet import codec
from ratchet.records import Trace
codec.loads(Trace, codec.dumps(a_trace("x")))
os.setuid(65534)
path = Path(sys.argv[1])
try:
    {code}
except StoreError as error:
    print(type(error).__name__)
    print(error)
"""


def as_nobody(code: str, path: Path) -> list[str]:
    """The lines printed by this code, run by a user who owns nothing."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    return run_python(AS_NOBODY.replace("{code}", code), path).stdout.splitlines()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    # pytest's own folders can't be entered by other users
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_file_that_may_not_be_written_is_told_when_it_is_opened(open_folder: Path) -> None:
    path = open_folder / "ratchet.db"
    SQLiteStore(path).close()
    path.chmod(0o444)
    lines = as_nobody("SQLiteStore(path)", path)
    assert lines[0] == "StoreReadOnlyError"
    assert str(path) in lines[1]
    assert "write permission" in lines[2]


def test_a_folder_that_may_not_be_written_is_told_when_the_store_is_made(open_folder: Path) -> None:
    assert as_nobody("SQLiteStore(path)", open_folder / "ratchet.db")[0] == "StoreReadOnlyError"
    assert as_nobody("open_store(path)", open_folder / "sub" / "ratchet.db")[0] == "StoreReadOnlyError"


def test_a_writable_file_in_a_folder_that_may_not_be_written_is_told(open_folder: Path) -> None:
    path = open_folder / "ratchet.db"
    SQLiteStore(path).close()
    path.chmod(0o666)
    assert as_nobody("SQLiteStore(path)", path)[0] == "StoreReadOnlyError"


def test_a_store_in_a_folder_that_may_not_be_written_can_be_read(open_folder: Path) -> None:
    path = open_folder / "ratchet.db"
    with SQLiteStore(path) as store:
        store.write([a_trace("t")])
    code = "print(*[row.id for row in SQLiteStore(path, read_only=True).rows()])"
    assert as_nobody(code, path) == ["t"]


def test_a_store_opened_read_only_reads_and_refuses_to_write(store: SQLiteStore, path: Path) -> None:
    store.write([a_trace("t")])
    with SQLiteStore(path, read_only=True) as reading:
        assert [row.id for row in reading.rows()] == ["t"]
        store.write([a_trace("u", example_id="u")])
        assert [row.id for row in reading.rows()] == ["t", "u"]
        reading.flush()
        for write in (
            lambda: reading.write([a_trace("v")]),
            lambda: asyncio.run(reading.awrite([a_trace("v")])),
            lambda: reading.move_ref("r", "x", expected=None),
        ):
            with pytest.raises(StoreReadOnlyError, match="read_only=True"):
                write()


def test_reading_where_there_is_no_store_says_so_and_makes_none(path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        SQLiteStore(path, read_only=True)
    assert not path.exists()


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
print("released", flush=True)
sys.stdin.readline()
"""


def test_a_store_held_by_another_process_is_told_and_works_once_it_is_free(
    store: SQLiteStore, path: Path
) -> None:
    store.write([a_trace("before")])
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError, match="another process"):
            store.write([a_trace("during", example_id="2")])
        with pytest.raises(StoreBusyError, match="another process"):
            SQLiteStore(path, busy_timeout_s=0.05)
        assert [row.id for row in store.rows()] == ["before"]
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "released\n"
        store.write([a_trace("after", example_id="3")])
        holder.stdin.write("\n")
    assert [row.id for row in store.rows()] == ["before", "after"]


def test_a_damaged_file_is_told_with_the_way_to_save_what_is_readable(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.write([a_trace(str(n), example_id=str(n), output="x" * 500) for n in range(500)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(StoreError, match=r"damaged(.|\n)*\.recover"), SQLiteStore(path) as store:
        list(store.rows())


def test_a_damaged_payload_names_itself_and_the_narrow_rows_still_read(
    store: SQLiteStore, path: Path
) -> None:
    store.write([a_trace("t")])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE payloads SET data = x'7b'")
        db.commit()
    with pytest.raises(StoreError, match="payload can't be read"):
        store.trace("t")
    assert [row.id for row in store.rows()] == ["t"]


def make_text(path: Path) -> None:
    path.write_text("id,question\n1,why\n" * 100)


def make_short_text(path: Path) -> None:
    path.write_text("x")


def make_other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (id)")
        db.commit()


def make_other_wal_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA application_id = 7")
        db.execute("CREATE TABLE mine (id)")
        db.commit()


def make_newer(path: Path) -> None:
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_text, "not a SQLite database"),
        (make_short_text, "not a SQLite database"),
        (make_other_database, "another program"),
        (make_other_wal_database, "another program"),
        (make_newer, "version 99; this Ratchet knows versions up to 3"),
    ],
)
def test_a_file_that_is_not_ours_or_newer_is_refused_and_left_as_it_is(
    path: Path, make: object, says: str, read_only: bool
) -> None:
    assert callable(make)
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match=says) as caught:
        SQLiteStore(path, read_only=read_only)
    assert caught.value.path == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["ratchet.db"]


def test_a_newer_version_still_in_the_log_is_refused(path: Path) -> None:
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()
        with pytest.raises(StoreVersionError, match="version 99"):
            SQLiteStore(path)


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        SQLiteStore(tmp_path)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be opened"):
        SQLiteStore(tmp_path / "none" / "ratchet.db")


def test_many_who_make_one_store_at_once_make_one_store(path: Path) -> None:
    code = "import sys; from ratchet.stores.sqlite import SQLiteStore; SQLiteStore(sys.argv[1]).close()"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    with SQLiteStore(path) as store:
        assert store.check() == []
