"""Columns, figures and texts are made in a child process: `python -m ratchet.web.indexing STORE run|texts|dataset ID`.

The server asks with `ensure` and looks at a small file of progress; it computes nothing itself. That file is also the
lock between any number of workers: who makes it starts the child, and one that is no longer touched counts as gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ratchet.stores import sqlite_views
from ratchet.web import columns
from ratchet.web.columns import Table

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

Job = Literal["run", "texts", "dataset", "verdict"]
GONE_AFTER_S = 20.0
"""A child that has said nothing for so long has died."""
AGAIN_AFTER_S = 30.0
"""A failed one is tried again after this."""
_SPARE = 10.0
"""Columns of a run under way are made again at most once in so many times what making them takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a child is doing."""

    step: str
    done: int
    total: int
    error: str = ""

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The columns of a run, as far as there are any."""

    table: Table | None
    fresh: bool
    """Nothing was added to the run since the columns were made."""
    progress: Progress | None
    """Of the child that makes them; None where none is at work."""


def view(store: SQLiteStore, run_id: str, *, wait_s: float = 0.0) -> View:
    """The columns of a run; where there are none, or old ones, a child is started to make them.

    Args:
        wait_s: How long to wait for a first version; the page comes complete where that is short.
    """
    table = columns.read(store.path, f"run-{run_id}")
    if table is not None and _is_fresh(store, run_id, table):
        return View(table=table, fresh=True, progress=None)
    if table is None or time.time() - table.made_at > _SPARE * float(table.facts["took_s"]):
        try:
            ensure(store.path, "run", run_id)
        except OSError as error:
            why = f"{columns.views_of(store.path)} can't be written: {error.strerror or error}"
            return View(
                table=table, fresh=False, progress=Progress(step="failed", done=0, total=0, error=why)
            )
    until = time.monotonic() + wait_s
    while table is None and time.monotonic() < until and under_way(store.path, "run", run_id):
        time.sleep(0.03)
        table = columns.read(store.path, f"run-{run_id}")
    return View(table=table, fresh=False, progress=progress(store.path, "run", run_id))


def _is_fresh(store: SQLiteStore, run_id: str, table: Table) -> bool:
    return sqlite_views.newest_trace(store, run_id) <= int(
        table.facts["newest_trace"]
    ) and not sqlite_views.scored_since(store, run_id, int(table.facts["newest_score"]))


def ensure(store: Path, job: Job, run_id: str) -> bool:
    """Start a child for this job unless one is at work; whether one was started."""
    path = _progress_file(store, job, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    age_s = _age_s(path)
    if age_s is not None:
        found = _read_progress(path)
        if age_s < (AGAIN_AFTER_S if found is not None and found.error else GONE_AFTER_S):
            return False
        path.unlink(missing_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:  # another worker was faster
        return False
    command = [sys.executable, "-m", "ratchet.web.indexing", str(store), job, run_id]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError:
        path.unlink(missing_ok=True)
        raise
    _CHILDREN.append(child)
    _CHILDREN[:] = [one for one in _CHILDREN if one.poll() is None]
    return True


_CHILDREN: list[subprocess.Popen[bytes]] = []
"""Those under way: held so that their exit status is collected."""


def under_way(store: Path, job: Job, run_id: str) -> bool:
    """Whether a child is at work on this."""
    path = _progress_file(store, job, run_id)
    age_s = _age_s(path)
    if age_s is None or age_s > GONE_AFTER_S:
        return False
    found = _read_progress(path)
    return found is None or not found.error


def progress(store: Path, job: Job, run_id: str) -> Progress | None:
    """How far the child is; None where none is at work and none has failed."""
    path = _progress_file(store, job, run_id)
    age_s = _age_s(path)
    if age_s is None:
        return None
    found = _read_progress(path)
    if found is not None and found.error:
        return found
    if age_s > GONE_AFTER_S:
        return None
    return found or Progress(step="starting", done=0, total=0)


def _progress_file(store: Path, job: Job, run_id: str) -> Path:
    home = columns.folder_of(store, f"run-{run_id}")
    return home.with_name(f"{home.name}.{job}.progress")


def _age_s(path: Path) -> float | None:
    try:
        return time.time() - path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_progress(path: Path) -> Progress | None:
    try:
        return Progress(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


class Reporter:
    """Writes down how far a child is, a few times a second at most."""

    def __init__(self, store: Path, job: Job, run_id: str) -> None:
        self.path = _progress_file(store, job, run_id)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._last_s = 0.0

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        """Say what is being done; cheap enough for every hundredth row."""
        now = time.monotonic()
        if now - self._last_s < 0.25:
            return
        self._last_s = now
        self._write({"step": step, "done": done, "total": total})

    def failed(self, error: BaseException) -> None:
        """Leave the reason for the page to show."""
        self._write(
            {"step": "failed", "done": 0, "total": 0, "error": f"{type(error).__name__}: {error}"[:2000]}
        )

    def finished(self) -> None:
        """Take the file away: nobody is at work any more."""
        self.path.unlink(missing_ok=True)

    def _write(self, data: dict[str, Any]) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid():x}")
        draft.write_text(json.dumps(data), encoding="utf-8", errors="replace")
        os.replace(draft, self.path)


def work(store: Path, job: Job, run_id: str) -> None:
    """Do one job in this process."""
    report = Reporter(store, job, run_id)
    report("starting")
    try:
        if job == "run":
            from ratchet.web import run_columns

            run_columns.build(store, run_id, report)
        elif job == "dataset":
            from ratchet.web import dataset_columns

            dataset_columns.build(store, run_id, report)
        elif job == "verdict":
            from ratchet.stores.sqlite import SQLiteStore
            from ratchet.web import verdict_pages

            with SQLiteStore(store, read_only=True) as kept:
                verdict_pages.build(kept, run_id)
        else:
            from ratchet.web import searching

            searching.fill(store, run_id, report)
    except BaseException as error:
        report.failed(error)
        raise
    report.finished()


def main(arguments: list[str]) -> int:
    """The child's own entry: STORE, job, run."""
    store, job, run_id = arguments
    if job not in ("run", "texts", "dataset", "verdict"):
        raise SystemExit(f"unknown job {job!r}; expected run, texts, dataset or verdict")
    if hasattr(os, "nice"):
        os.nice(5)  # people wait for the server, and for the run under way
    work(Path(store), job, run_id)
    if job == "run":
        ensure(Path(store), "texts", run_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
