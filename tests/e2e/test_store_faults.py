"""A store that gives way: a clear error and exit 4, nothing lost, and a resume once the cause is gone."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ratchet.simulated.server import SimulatedServer, serve_in_thread

from .commands import VARIANT, end, kept, lay, once, ratchet, start, summary

ROWS = 200
EXIT_FAILED = 4


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    with serve_in_thread(seed=1) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai"))
        yield running


@pytest.fixture
def folder(project: Path, server: SimulatedServer) -> Path:
    return lay(project, ROWS)


def begun(folder: Path) -> int:
    """A run that its budget has stopped; how many answers it has."""
    done = ratchet(folder, "run", "--budget-tokens", "2000", "--json")
    assert (done.returncode, summary(done)["state"]) == (0, "stopped"), done.stderr
    found = len(kept(folder))
    assert 0 < found < ROWS
    return found


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == EXIT_FAILED, done.stderr
    assert "Traceback" not in done.stderr
    assert "defect in Ratchet" not in done.stderr
    assert done.stdout == ""
    for words in said:
        assert words in done.stderr


def goes_on(folder: Path) -> None:
    """A resume completes the run, every row once."""
    done = ratchet(folder, "run", "--resume", "--json")
    assert (done.returncode, summary(done)["state"]) == (0, "finished"), done.stderr
    rows = kept(folder)
    assert once(rows)
    assert {row.example_id for row in rows} == {f"q{i}" for i in range(ROWS)}
    assert [row.error_kind for row in rows] == [None] * ROWS


def test_a_full_store_stops_the_run_and_keeps_what_it_has(folder: Path) -> None:
    process = start(folder, "run", "--json")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    refused(end(process), "StoreFullError: no space is left for the store", "Free space")
    before = kept(folder)
    assert once(before)
    assert 0 < len(before) < ROWS
    goes_on(folder)
    assert {row.id for row in before} <= {row.id for row in kept(folder)}


def test_a_store_without_room_to_begin_says_so_before_any_call(folder: Path, server: SimulatedServer) -> None:
    process = start(folder, "run", "--json")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))
    refused(end(process), "StoreFullError: no space is left for the store")
    assert server.stats().requests == 0
    done = ratchet(folder, "run", "--json")
    assert done.returncode == 0, done.stderr


@contextmanager
def with_version(path: Path, version: int) -> Generator[None]:
    with closing(sqlite3.connect(path)) as db:
        (before,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
    yield
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {before}")
        db.commit()


def test_a_store_of_a_newer_version_is_left_as_it_is(folder: Path, server: SimulatedServer) -> None:
    begun(folder)
    path = folder / ".ratchet" / "ratchet.db"
    requests = server.stats().requests
    with with_version(path, 99):
        before = path.read_bytes()
        refused(
            ratchet(folder, "run", "--resume", "--json"),
            "StoreVersionError: ",
            "version 99",
            "pip install --upgrade",
        )
        assert path.read_bytes() == before
    assert server.stats().requests == requests
    goes_on(folder)


def test_a_file_that_is_no_store_is_left_as_it_is(folder: Path, server: SimulatedServer) -> None:
    (folder / "notes.db").write_text("my notes\n" * 1000)
    before = (folder / "notes.db").read_bytes()
    refused(ratchet(folder, "run", "--json", "--store", "notes.db"), "notes.db is not a Ratchet store")
    assert (folder / "notes.db").read_bytes() == before
    assert server.stats().requests == 0


def test_a_store_that_may_not_be_written_is_told_before_any_call(server: SimulatedServer) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    # pytest's own folders can't be entered by other users
    with tempfile.TemporaryDirectory() as name:
        folder = lay(Path(name), ROWS)
        begun(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o444)
        requests = server.stats().requests
        refused(
            as_nobody(folder, "run", "--resume", "--json"),
            "StoreReadOnlyError: ",
            "can't be written",
            "write permission",
        )
        assert server.stats().requests == requests
        goes_on(folder)


def as_nobody(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    # imported as root: the interpreter's own files may be out of the other user's reach
    code = (
        "import os, sys, sysconfig, unicodedata, uvloop, yaml, ratchet.verdicts, ratchet.reports, ratchet.cli.run, ratchet.runs, ratchet.stores.sqlite, ratchet.projects\n"
        "import ratchet.prices, ratchet.scorers.text, ratchet.providers.openai_chat, ratchet.summaries\n"
        "from ratchet.cli import main\n"
        "os.setuid(65534)\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held(path: Path) -> Generator[None]:
    """The store locked by another process."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("\n")


@pytest.mark.slow  # a store waits ten seconds for another process
def test_a_store_that_another_process_holds_is_told(folder: Path, server: SimulatedServer) -> None:
    found = begun(folder)
    requests = server.stats().requests
    with held(folder / ".ratchet" / "ratchet.db"):
        refused(
            ratchet(folder, "run", "--resume", "--json"),
            "StoreBusyError: ",
            "held by another process",
            "try again",
        )
    assert server.stats().requests == requests
    assert len(kept(folder)) == found
    goes_on(folder)


@pytest.mark.slow  # a store waits ten seconds for another process
def test_a_store_that_another_process_takes_in_the_middle_of_a_run_stops_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay(project, ROWS, variants=f"a: {VARIANT.replace('instant', 'steady')}")
    with serve_in_thread(profiles=["steady=ttft_s=0.05"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        process = start(folder, "run", "--json", "-j", "2")
        while process.poll() is None and server.stats().answered < 10:
            time.sleep(0.01)
        with held(folder / ".ratchet" / "ratchet.db"):
            refused(end(process), "StoreBusyError: ", "held by another process")
        before = kept(folder)
        assert once(before)
        assert 5 < len(before) < ROWS
        goes_on(folder)
