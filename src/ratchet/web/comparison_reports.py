"""The exported report of a kept verdict, made in a child process: `python -m ratchet.web.comparison_reports STORE ID FILE`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.errors import PlanError
from ratchet.web import columns

if TYPE_CHECKING:
    from ratchet.verdicts.keeping import Kept

MOST_S = 300.0


def made(store: Path, kept: Kept) -> Path:
    """The report's file beside the columns, made now: it holds the labels that there are by then.

    Raises:
        PlanError: The child failed, or took longer than five minutes.
    """
    folder = columns.folder_of(store, f"verdict-{kept.id}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    command = [sys.executable, "-m", "ratchet.web.comparison_reports", str(store), kept.id, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=False)
    except subprocess.TimeoutExpired:
        raise PlanError(
            f"the report was not ready after {MOST_S:.0f} s\n  From the command line: ratchet compare {kept.run_ids[0] if kept.run_ids else ''} -o verdict.html"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise PlanError(f"the report could not be made: {last}")
    return path


def file_name(kept: Kept) -> str:
    """`verdict-challenger-7d20a5d2.html`, of letters that every system takes."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in kept.candidate)[:40]
    return f"verdict-{safe}-{kept.id[:8]}.html"


def write(store_path: Path, verdict_id: str, path: Path) -> None:
    """Write the report of this verdict to `path`, all of it or nothing.

    Raises:
        PlanError: No such verdict.
    """
    from ratchet.evidence import from_runs
    from ratchet.reports import html, reading
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.verdicts import keeping

    with SQLiteStore(store_path, read_only=True) as store:
        kept = keeping.find(store, verdict_id)
        if kept is None:
            raise PlanError(f"there is no verdict {verdict_id!r} in this store")
        evidence = from_runs(store, {name: (s.run_id, s.arm) for name, s in kept.sources.items()})
        reader = reading.Reader(store, kept.sources, evidence.examples)
        text = html.render(
            keeping.verdict_of(store, kept),
            evidence,
            details=reader.detail,
            view=keeping.view_of(store, kept),
        )
    draft = path.with_name(f".{path.name}.{os.getpid():x}")
    draft.write_text(text, encoding="utf-8", errors="replace", newline="")
    draft.replace(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
