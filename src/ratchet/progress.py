"""How far a run is: counters that the engine moves and a display reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class ArmProgress:
    """Counters of one arm."""

    total: int | None = None
    """Items in all, those of earlier parts of the run included; None: not known."""
    done: int = 0
    failed: int = 0
    cached: int = 0
    retried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    """Answers whose price is unknown: `cost_usd` leaves them out."""


@dataclass(slots=True)
class Progress:
    """Counters of a run; one event loop writes them."""

    arms: dict[str, ArmProgress] = field(default_factory=dict[str, ArmProgress])
    started_s: float = field(default_factory=time.perf_counter)
    resumed: int = 0
    """Items that earlier parts of the run had done."""
    in_flight: int = 0
    waiting: int = 0
    judging: int = 0
    judge_cost_usd: float = 0.0
    state: str = "running"
    """"running", "stopping"…"""

    @property
    def done(self) -> int:
        return sum(arm.done for arm in self.arms.values())

    @property
    def total(self) -> int | None:
        totals = [arm.total for arm in self.arms.values()]
        return None if None in totals else sum(total or 0 for total in totals)

    @property
    def cost_usd(self) -> float:
        return sum(arm.cost_usd for arm in self.arms.values()) + self.judge_cost_usd

    @property
    def rows_per_s(self) -> float:
        elapsed_s = time.perf_counter() - self.started_s
        return (self.done - self.resumed) / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the pace so far; None while unknown."""
        total, pace = self.total, self.rows_per_s
        return None if total is None or pace <= 0 else (total - self.done) / pace
