"""How far runs are, from cheap counts alone: rows done of planned, errors, cost, pace, time left."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratchet.ports import ArmCounts, RunRow
from ratchet.records import Run
from ratchet.stores import sqlite_views
from ratchet.web import columns

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

PACE_OVER_S = 60.0
"""The pace is that of the answers of the last minute."""
SILENT_AFTER_S = 120.0
"""A run "under way" without an answer for so long may have been killed."""
_SPARE = 20.0
"""Everything is counted again at most once in so many times what that takes."""
_MOST_KEPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTally:
    """How far one arm is."""

    arm: str
    rows: int
    planned: int
    failed: int
    cost_usd: float | None
    unpriced: int
    cached: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a run is."""

    arms: Mapping[str, ArmTally]
    judge_calls: int
    judge_cost_usd: float | None
    newest_at: float
    """When its newest answer came; 0 where there is none."""

    @property
    def rows(self) -> int:
        return sum(arm.rows for arm in self.arms.values())

    @property
    def planned(self) -> int:
        return sum(arm.planned for arm in self.arms.values())

    @property
    def failed(self) -> int:
        return sum(arm.failed for arm in self.arms.values())

    @property
    def cost_usd(self) -> float | None:
        """Of all arms and judges; None where no price is known."""
        known = [arm.cost_usd for arm in self.arms.values() if arm.cost_usd is not None]
        if self.judge_cost_usd is not None:
            known.append(self.judge_cost_usd)
        return sum(known) if known else None

    @property
    def unpriced(self) -> int:
        return sum(arm.unpriced for arm in self.arms.values())

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self.rows / self.planned) if self.planned else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a run under way goes."""

    rows_per_s: float | None
    left_s: float | None
    silent_s: float | None
    """Seconds since its last answer, where these are so many that it may be gone."""


def planned(run: Run) -> int:
    """Answers that each arm of this run is to give."""
    bounds = [bound for bound in (run.limit, run.sample) if bound is not None]
    return min([run.task.dataset.count, *bounds]) * run.task.repeats


def tally(store: SQLiteStore, run: Run) -> Tally:
    """How far this run is: counted anew, or what was counted before with what came since."""
    found = {counts.arm: counts for counts in _COUNTS.of(store, run.id)}
    each = planned(run)
    arms = {arm: _arm(arm, found.get(arm), each) for arm in run.arms}
    judge = found.get(None)
    return Tally(
        arms=arms,
        judge_calls=judge.rows if judge else 0,
        judge_cost_usd=judge.cost_usd if judge else None,
        newest_at=max((counts.newest_at for counts in found.values()), default=0.0),
    )


def _arm(arm: str, found: ArmCounts | None, each: int) -> ArmTally:
    if found is None:
        return ArmTally(arm=arm, rows=0, planned=each, failed=0, cost_usd=None, unpriced=0, cached=0,
                        input_tokens=0, output_tokens=0)  # fmt: skip
    return ArmTally(
        arm=arm, rows=found.rows, planned=each, failed=found.failed, cost_usd=found.cost_usd, unpriced=found.unpriced,
        cached=found.cached, input_tokens=found.input_tokens, output_tokens=found.output_tokens,
    )  # fmt: skip


def pace(store: SQLiteStore, row: RunRow, found: Tally) -> Pace | None:
    """How fast it goes and how long it will take; None for a run that has ended."""
    if row.state != "running":
        return None
    now = time.time()
    times = [at for at in sqlite_views.recent_times(store, row.id) if at > now - PACE_OVER_S]
    silent_s = now - max(found.newest_at, row.created_at)
    if len(times) < 2:
        return Pace(rows_per_s=None, left_s=None, silent_s=silent_s if silent_s > SILENT_AFTER_S else None)
    # an engine's answers come in bursts: from the first of them until now, not until the last
    speed = len(times) / max(now - times[-1], 1e-3)
    answers = found.rows / max(found.rows + found.judge_calls, 1)
    left = max(0, found.planned - found.rows)
    return Pace(
        rows_per_s=speed * answers, left_s=left / (speed * answers) if answers else None, silent_s=None
    )


class _Counts:
    """Counts by run: the last full count and what came after its place, per process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[int, float, float, list[ArmCounts]]] = OrderedDict()

    def of(self, store: SQLiteStore, run_id: str) -> list[ArmCounts]:
        key = str(store.path), run_id
        with self._lock:
            kept = self._kept.get(key)
        newest = sqlite_views.newest_trace(store, run_id)
        if kept is not None:
            place, at_s, took_s, counts = kept
            if place == newest and time.monotonic() - at_s < max(5.0, _SPARE * took_s):
                return counts
            if time.monotonic() - at_s < _SPARE * took_s:
                return merged(counts, sqlite_views.counts(store, run_id, after=place))
        started_s = time.monotonic()
        counts = _with_columns(store, run_id, newest) or sqlite_views.counts(store, run_id)
        now_s = time.monotonic()
        with self._lock:
            self._kept[key] = newest, now_s, now_s - started_s, counts
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return counts


_COUNTS = _Counts()


def _with_columns(store: SQLiteStore, run_id: str, newest: int) -> list[ArmCounts]:
    """What was counted when the run's columns were made; nothing where answers came since."""
    table = columns.read(store.path, f"run-{run_id}")
    if table is None or newest != table.facts["newest_trace"]:
        return []
    return [ArmCounts(**counts) for counts in table.facts.get("counts", ())]


def merged(before: Sequence[ArmCounts], since: Sequence[ArmCounts]) -> list[ArmCounts]:
    """Both counts added up, arm by arm."""
    found = {counts.arm: counts for counts in before}
    for new in since:
        old = found.get(new.arm)
        if old is None:
            found[new.arm] = new
            continue
        costs = [cost for cost in (old.cost_usd, new.cost_usd) if cost is not None]
        found[new.arm] = ArmCounts(
            arm=new.arm, rows=old.rows + new.rows, failed=old.failed + new.failed,
            cost_usd=sum(costs) if costs else None, unpriced=old.unpriced + new.unpriced,
            cached=old.cached + new.cached, input_tokens=old.input_tokens + new.input_tokens,
            output_tokens=old.output_tokens + new.output_tokens, newest_at=max(old.newest_at, new.newest_at),
        )  # fmt: skip
    return list(found.values())
