"""SQLite's errors as ours: what happened, and the next step."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from ratchet.errors import (
    RatchetError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)

_PRIMARY = 0xFF
# the system took no more bytes: on a full tmpfs, past a quota, past a limit on file size
_NO_ROOM = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})


def explain(error: Exception, path: Path) -> RatchetError:
    """A new error of ours for this one; each waiter gets its own."""
    if isinstance(error, StoreError):
        return type(error)(str(error), path=path)
    if isinstance(error, RatchetError):
        return error
    if isinstance(error, sqlite3.Error):
        return _explain_sqlite(error, path)
    if isinstance(error, OSError):
        return _explain_os(error, path)
    return StoreError(f"the store {path} failed: {type(error).__name__}: {error}", path=path)


def _explain_os(error: OSError, path: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return full(path, error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return read_only(path, error)
    return StoreError(f"the store {path} can't be used: {error.strerror or error}", path=path)


def _explain_sqlite(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    primary = code & _PRIMARY
    if primary == sqlite3.SQLITE_FULL or code in _NO_ROOM:
        return full(path, error)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusyError(
            f"the store {path} is held by another process ({error}).\n"
            "  Nothing of this was written. Wait until that process is done, or end it, and try again",
            path=path,
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return read_only(path, error)
    if primary == sqlite3.SQLITE_CANTOPEN:
        if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            return read_only(path, error)
        return StoreError(
            f"the store {path} can't be opened: {error}.\n  Does its folder exist, and is it a plain file?",
            path=path,
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"the store {path} is damaged: {error}.\n"
            f"  Restore a backup, or save what is readable: sqlite3 {path} .recover | sqlite3 recovered.db",
            path=path,
        )
    return StoreError(f"the store {path} failed: {error}", path=path)


def full(path: Path, error: Exception) -> StoreFullError:
    return StoreFullError(
        f"no space is left for the store {path} ({error}).\n"
        "  Nothing of this was written. Free space on its disk (or raise the quota) and try again",
        path=path,
    )


def read_only(path: Path, error: Exception | str) -> StoreReadOnlyError:
    return StoreReadOnlyError(
        f"the store {path} can't be written ({error}).\n"
        "  SQLite needs write permission for the file and for its folder; or open it read-only",
        path=path,
    )


def not_ours(path: Path, what: str) -> StoreVersionError:
    return StoreVersionError(
        f"{path} is not a Ratchet store: it is {what}. It was left as it is.\n"
        "  Name another file with the `store` setting",
        path=path,
    )


def too_new(path: Path, version: int, known: int) -> StoreVersionError:
    return StoreVersionError(
        f"the store {path} has version {version}; this Ratchet knows versions up to {known}. "
        "It was left as it is.\n  Upgrade: pip install --upgrade ratchet-llm",
        path=path,
    )
