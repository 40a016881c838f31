from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.errors import StoreBusyError, StoreError, StoreReadOnlyError
from ratchet.stores import run_locks
from ratchet.stores.sqlite import SQLiteStore

HOLD = """
import sys, time
from pathlib import Path
from ratchet.stores import run_locks
with run_locks.hold(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


def test_a_killed_process_frees_its_run_at_once(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(StoreBusyError, match=rf"another process \(pid {process.pid}\)"),
            run_locks.hold(file, "run"),
        ):
            pytest.fail("two hold one run")
        process.kill()
        process.wait()
    assert run_locks.path_of(file, "run").exists(), "left by the kill"
    with run_locks.hold(file, "run"):
        pass


def test_a_second_caller_in_the_same_process_is_told_so(file: Path) -> None:
    with (
        run_locks.hold(file, "run"),
        pytest.raises(StoreBusyError, match="this process"),
        run_locks.hold(file, "run"),
    ):
        pytest.fail("two hold one run")


def test_nothing_is_left_beside_the_store(file: Path) -> None:
    with run_locks.hold(file, "run"):
        assert run_locks.path_of(file, "run").read_text() == str(os.getpid())
    assert list(file.parent.iterdir()) == []


def test_a_file_that_was_removed_before_it_was_locked_holds_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    path, flock, removed = run_locks.path_of(file, "run"), fcntl.flock, list[int]()

    def late(opened: int, how: int) -> None:
        if not removed:  # as by whoever held it until now
            path.unlink()
            removed.append(opened)
        flock(opened, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with run_locks.hold(file, "run"):
        assert path.read_text() == str(os.getpid()), "a file of that name is locked"
        with pytest.raises(StoreBusyError), run_locks.hold(file, "run"):
            pytest.fail("two hold one run")


def test_a_program_started_meanwhile_does_not_keep_the_run(file: Path) -> None:
    with run_locks.hold(file, "run"):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with run_locks.hold(file, "run"):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_store_error(file: Path) -> None:
    file.parent.chmod(0o500)
    try:
        with pytest.raises(StoreReadOnlyError, match="can't be written"), run_locks.hold(file, "run"):
            pytest.fail("it was held")
    finally:
        file.parent.chmod(0o700)


def test_a_store_opened_read_only_holds_no_run(file: Path) -> None:
    SQLiteStore(file).close()
    with SQLiteStore(file, read_only=True) as store, pytest.raises(StoreReadOnlyError), store.hold_run("run"):
        pytest.fail("it was held")


def test_a_link_in_the_place_of_the_lock_is_not_followed(file: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("words")
    run_locks.path_of(file, "run").symlink_to(precious)
    with pytest.raises(StoreError, match="can't be used"), run_locks.hold(file, "run"):
        pytest.fail("it was held")
    assert precious.read_text() == "words"
