"""One worker a run: a lock on a file beside the store, which the system frees when its process ends, however it ends."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ratchet.errors import StoreBusyError
from ratchet.stores import sqlite_errors as errors

_HELD = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})


@contextmanager
def hold(store: Path, run_id: str) -> Generator[None]:
    """Keep this run to this caller until the context ends.

    Args:
        store: The store's file; the lock is `<store>.run-<id>.lock`, and gone afterwards. After a kill the file stays,
            unlocked, for the next.

    Raises:
        StoreBusyError: Somebody holds it, in another process or in this one; says which.
        StoreReadOnlyError, StoreFullError, StoreError: The lock's file can't be made.
    """
    path = path_of(store, run_id)
    try:
        file = _open_locked(path)
    except OSError as error:
        raise errors.explain(error, store) from error
    if isinstance(file, str):
        raise StoreBusyError(
            f"run {run_id} is being worked on by {file}.\n  Wait for it, or stop it, and try again",
            path=store,
        )
    owner = os.getpid()
    try:
        yield
    finally:
        if owner == os.getpid():  # a fork holds the lock too, and has no say in its end
            _release(file, path)


def path_of(store: Path, run_id: str) -> Path:
    """Where the lock of this run is."""
    plain = re.fullmatch(r"[A-Za-z0-9-]{1,64}", run_id)
    name = run_id if plain else hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return store.with_name(f"{store.name}.run-{name}.lock")


def _open_locked(path: Path) -> int | str:
    """The locked file with our process id in it; or who holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if not _lock(file):
                return _holder(file)
            # whoever held it may have removed the file after we opened it: then somebody else can lock a new one
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                with suppress(OSError):  # on a full disk the lock holds all the same, without a name
                    os.ftruncate(file, 0)
                    os.write(file, str(os.getpid()).encode())
                kept, file = file, -1
                return kept
        except FileNotFoundError:
            pass  # removed between the two looks at it
        finally:
            if file >= 0:
                os.close(file)


def _holder(file: int) -> str:
    said = os.pread(file, 20, 0) if hasattr(os, "pread") else os.read(file, 20)
    if not said.isdigit():
        return "another process"
    return "this process already" if int(said) == os.getpid() else f"another process (pid {int(said)})"


def _release(file: int, path: Path) -> None:
    # unlocked last, so that nobody locks what is about to be removed; Windows removes no open file
    if sys.platform != "win32":
        path.unlink(missing_ok=True)
    os.close(file)
    if sys.platform == "win32":
        with suppress(OSError):
            path.unlink(missing_ok=True)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # far behind the process id, which others are to read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        # flock, not lockf: it belongs to the open file, so it also tells two callers in one process apart
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise
        return True
