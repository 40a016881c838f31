"""A run as columns and figures: a row an answer, in order of commit. Not for the server's process.

Columns: `seq` (the order of commit), `trace`, `example`, `group` (texts), `arm`, `error`, `FACTS`, the flags `failed`,
`refused`, `unparsable`, `cached`, `failed`, and `score:<name>` for each score (`label:<name>` for people's).
"""

from __future__ import annotations

import json
import os
import time
from array import array
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ratchet.errors import PlanError
from ratchet.records import Run, ScoreValue
from ratchet.stores import sqlite_views
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web.columns import Words, Writer, read

FACTS = (
    "repeat",
    "cost_usd",
    "latency_s",
    "ttft_s",
    "input_tokens",
    "output_tokens",
    "attempts",
    "created_at",
)
FLAGS = ("failed", "refused", "unparsable", "cached")
_NAN = float("nan")
_PREFIXES = {"human": "label:", "user": "user:"}


class Report(Protocol):
    """Told how far the work is."""

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None: ...


def build(store: Path, run_id: str, report: Report) -> None:
    """Write the run's columns, then its figures beside them.

    Raises:
        PlanError: There is no such run.
    """
    from ratchet.web import figures

    started_s = time.perf_counter()
    with SQLiteStore(store, read_only=True) as kept:
        run = kept.run(run_id)
        if run is None:
            raise PlanError(f"there is no run {run_id!r} in {store}")
        # read first: what comes while the rows are read is then newer than the columns, and they are made again
        marks = {
            "newest_trace": sqlite_views.newest_trace(kept, run_id),
            "newest_score": sqlite_views.newest_score(kept),
        }
        counts = sqlite_views.counts(kept, run_id)
        total = sqlite_views.size(kept, run_id)
        rows = _Rows(run)
        for count, cell in enumerate(sqlite_views.cells(kept, run_id)):
            rows.add(cell)
            if count % 1000 == 0:
                report("reading answers", count, 2 * total)
        rows.freeze()
        for count, score in enumerate(sqlite_views.score_cells(kept, run_id)):
            rows.score(score)
            if count % 1000 == 0:
                report("reading scores", min(2 * total, total + count), 2 * total)
        writer = Writer(store, f"run-{run_id}", len(rows))
        try:
            facts: dict[str, Any] = {
                "run_id": run_id,
                "arms": list(run.arms),
                **marks,
                "counts": [asdict(found) for found in counts],
                "scores": rows.write(writer),
            }
            facts["took_s"] = time.perf_counter() - started_s
            writer.finish(facts)
        except BaseException:
            writer.abandon()
            raise
        report("computing figures", 0, 0)
        table = read(store, f"run-{run_id}")
        if table is not None:
            found = figures.compute(kept, run, table, report)
            draft = table.folder / f"extra.{os.getpid():x}"
            draft.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8", errors="replace")
            os.replace(draft, table.folder / "extra.json")


class _Rows:
    """The cells of a run gathered into arrays."""

    def __init__(self, run: Run) -> None:
        self._arms = Words()
        for arm in run.arms:
            self._arms.of(arm)
        self._examples, self._groups, self._errors = Words(), Words(), Words()
        self._seq = array("q")
        self._trace = bytearray()
        self._arm, self._example, self._group, self._error = (array("i") for _ in range(4))
        self._facts = {name: array("d") for name in FACTS}
        self._flags = {name: array("b") for name in FLAGS}
        self._scores: dict[str, _Column] = {}

    def __len__(self) -> int:
        return len(self._seq)

    def add(self, cell: tuple[Any, ...]) -> None:
        """One row of `sqlite_views.CELLS`."""
        found: dict[str, Any] = dict(zip(sqlite_views.CELLS, cell, strict=True))
        self._seq.append(found["seq"])
        self._trace += _id_bytes(found["id"])
        self._arm.append(self._arms.of(found["arm"]))
        self._example.append(self._examples.of(found["example_id"]))
        self._group.append(self._groups.of(found["group"]))
        self._error.append(self._errors.of(found["error_kind"]))
        for name, column in self._facts.items():
            column.append(_NAN if found[name] is None else found[name])
        found["failed"] = found["error_kind"] is not None
        for name, column in self._flags.items():
            column.append(bool(found[name]))

    def freeze(self) -> None:
        """Ready to find rows by trace."""
        self.ids = np.frombuffer(bytes(self._trace), np.uint8).reshape(len(self), 16)
        heads = np.ascontiguousarray(self.ids[:, :8]).view(">u8").ravel().astype(np.uint64)
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]
        self._last: tuple[str, int] = ("", -1)

    def score(self, cell: sqlite_views.ScoreCell) -> None:
        """One score; those of a trace come one after another."""
        if cell.trace_id != self._last[0]:
            self._last = (cell.trace_id, self._find(cell.trace_id))
        if self._last[1] >= 0:
            name = f"{_PREFIXES.get(cell.source, 'score:')}{cell.name}"
            self._scores.setdefault(name, _Column(cell.source)).add(self._last[1], cell.value)

    def _find(self, trace_id: str) -> int:
        head = np.uint64(int.from_bytes(_id_bytes(trace_id)[:8], "big"))
        at = int(np.searchsorted(self._heads, head))
        return int(self._order[at]) if at < len(self._heads) and self._heads[at] == head else -1

    def write(self, writer: Writer) -> list[dict[str, str]]:
        """Hand all columns to the writer; the scores' names, columns and kinds."""
        writer.number("seq", np.array(self._seq, np.float64), order=False)
        writer.trace("trace", self.ids)
        writer.code("arm", np.array(self._arm, np.int32), self._arms.texts)
        writer.text("example", np.array(self._example, np.int32), self._examples.texts)
        if self._groups.texts:
            writer.text("group", np.array(self._group, np.int32), self._groups.texts)
        writer.code("error", np.array(self._error, np.int32), self._errors.texts)
        for name, values in self._facts.items():
            writer.number(name, np.array(values, np.float64))
        for name, flags in self._flags.items():
            writer.flag(name, np.array(flags, np.bool_))
        return [column.write(writer, name, len(self)) for name, column in self._scores.items()]


class _Column:
    """One score's values by row; the newest where there are several."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rows, self._numbers, self._codes = array("q"), array("d"), array("i")
        self._words = Words()
        self._kinds: set[str] = set()

    def add(self, row: int, value: ScoreValue) -> None:
        number, code = _NAN, -1
        if isinstance(value, (bool, int, float)):
            number = float(value)
            self._kinds.add("bool" if isinstance(value, bool) else "number")
        elif value is not None:
            code = self._words.of(value if isinstance(value, str) else ", ".join(sorted(value)))
            self._kinds.add("label")
        self._rows.append(row)
        self._numbers.append(number)
        self._codes.append(code)

    def write(self, writer: Writer, name: str, count: int) -> dict[str, str]:
        kind = next((k for k in ("label", "number", "bool") if k in self._kinds), "bool")
        at = np.array(self._rows, np.int64)
        if kind == "label":
            codes = np.full(count, -1, np.int32)
            codes[at] = np.array(self._codes, np.int32)
            writer.code(name, codes, self._words.texts)
        else:
            numbers = np.full(count, _NAN)
            numbers[at] = np.array(self._numbers)
            writer.number(name, numbers)
        return {"column": name, "name": name.partition(":")[2], "kind": kind, "source": self._source}


def _id_bytes(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id).rjust(16, b"\0")[:16]
    except ValueError:  # not ours: a trace of another tool
        return trace_id.encode("utf-8", "replace").ljust(16, b"\0")[:16]
