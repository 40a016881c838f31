"""What a cost case says: plain records, all money in dollars."""

from __future__ import annotations

from dataclasses import dataclass, field

from ratchet.prices import Split
from ratchet.records import Price

MONTH_S = 30.4375 * 86_400
"""Seconds of the average month of the Gregorian calendar: 365.25 / 12 days."""
MONTH_H = MONTH_S / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate with its 95 % interval; an end that is None has no finite limit."""

    value: float
    low: float | None = None
    high: float | None = None
    method: str = ""
    n: int = 0

    def times(self, factor: float) -> Range:
        """The same on another scale; a negative factor turns the ends round."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        if factor < 0:
            low, high = high, low
        return Range(value=self.value * factor, low=low, high=high, method=self.method, n=self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How often the product calls the model."""

    calls_per_month: Range
    source: str
    """"stated", or what it was counted from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCost:
    """What one arm's answers cost."""

    name: str
    model: str
    price: Price | None
    answers: int
    unpriced: int
    """Answers whose price is unknown: they are in no figure below."""
    failed: int
    per_call_usd: Range | None
    """Retries included; None where no price is known."""
    retry_usd: float
    """Of the dollars per call, those for attempts that gave no answer."""
    parts: Split | None
    """The mean call's dollars by what they were paid for, retries left out; None where a server or function named
    the price itself."""
    tokens: dict[str, float] = field(default_factory=dict[str, float])
    """Mean tokens per call: input, cached, output, reasoning."""
    success_share: float | None = None
    per_success_usd: Range | None = None
    """All dollars over the number of correct answers; `high` None where the data allow none at all."""
    per_month_usd: Range | None = None
    """At the traffic given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One arm under other terms."""

    arm: str
    change: str
    per_call_usd: float
    per_month_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Going from baseline to candidate."""

    baseline: str
    candidate: str
    saving_per_call_usd: Range
    """Baseline less candidate, paired by example."""
    saving_share: Range | None
    """Of the baseline's bill; 0.3 is 30 % less."""
    spent_usd: float
    """On validation so far: every run of this dataset in the store, judges included."""
    one_off_usd: float
    """What going over costs beside that, as stated."""
    saving_per_month_usd: Range | None = None
    break_even_months: Range | None = None
    """One-off cost over monthly saving; None: never, as nothing is saved. `high` None: not surely ever."""
    break_even_on: str | None = None
    """ISO date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """An arm on machines of one's own, against another arm's price per call."""

    arm: str
    against: str
    gpu_usd_per_hour: float
    gpus: int
    """A replica's."""
    requests_per_s: float
    """What one replica holds within the SLO."""
    throughput_from: str
    """"stated", or the load test it was measured by."""
    utilisation: float
    """The share of that which the day's traffic really uses: machines are paid for by night, too."""
    per_call_usd: float
    """With every replica used to this share."""
    replica_usd_per_month: float
    replica_calls_per_month: float
    against_per_call_usd: float
    break_even_calls_per_month: float | None
    """From here on the machines cost less; None: never."""
    replicas: int | None = None
    per_month_usd: float | None = None
    against_per_month_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """How far one assumption moves the monthly saving (or, with one arm, the monthly bill)."""

    name: str
    low_text: str
    low_usd: float
    high_text: str
    high_usd: float

    @property
    def width_usd(self) -> float:
        return abs(self.high_usd - self.low_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCase:
    """What the answers of one run say about money."""

    run_id: str
    run_name: str
    success_metric: str | None
    arms: tuple[ArmCost, ...]
    judge_usd: float
    """Of the run, in all: scoring, not serving."""
    spent_usd: float
    """What this run was billed for: answers taken from the cache cost nothing again."""
    traffic: Traffic | None = None
    migration: Migration | None = None
    hosting: Hosting | None = None
    what_if: tuple[WhatIf, ...] = ()
    swings: tuple[Swing, ...] = ()
    """Widest first."""
    notes: tuple[str, ...] = ()
