"""The examples of a verdict: what each arm scored on them, who won, by which slice, and what arms cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ratchet.evidence import ArmData, Evidence
from ratchet.records import Json, Score, Trace, Verdict
from ratchet.reports import numbers, views
from ratchet.stats import multiplicity, paired

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
MOST_ROWS = 5_000
MOST_SLICES = 12
SLICE_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What one example looked like; the caller reads it from the store. All of it is hostile."""

    input: Json = None
    expected: Json = None
    outputs: Mapping[str, Sequence[Json]] = field(default_factory=dict[str, Sequence[Json]])
    """By arm, one a repeat."""
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By arm, then by score."""
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    """By arm: why there is no answer."""
    traces: Mapping[str, Sequence[Trace]] = field(default_factory=dict[str, Sequence[Trace]])
    """By arm, one a repeat, where the store has them: cost, time and steps."""
    scores: Mapping[str, Sequence[Score]] = field(default_factory=dict[str, Sequence[Score]])
    """By trace id: of code, judges, people and users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Both arms example by example on one metric, repeats averaged; NaN: no value."""

    metric: str
    rate: bool
    higher_is_better: bool
    before: Floats
    after: Floats
    gain: Floats
    """The change, signed so that more is better; an answer lost is -inf, one won +inf."""
    errored: Bools
    """An answer failed in either arm."""
    flipped: Bools
    """Passed in one arm and not in the other; always False for metrics that are not pass or fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many examples got better, stayed, got worse."""

    better: int
    same: int
    worse: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The paired difference within one part of the data."""

    name: str
    n: int
    estimate: float
    low: float
    high: float
    tone: views.Tone
    """Adjusted for the number of slices (Benjamini-Hochberg, 5 %)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPoint:
    """One arm's quality against what it costs."""

    name: str
    quality: float
    cost: float
    front: bool
    """No other arm is better on one and as good on the other."""
    role: str


def pair(verdict: Verdict, evidence: Evidence) -> Paired | None:
    """Both arms on the headline metric; None where they share no numeric one."""
    metric = views.headline(verdict, evidence)
    if metric is None:
        return None
    called = views.names(verdict, evidence)
    arms = evidence.arms[called.baseline], evidence.arms[called.candidate]
    columns = [arm.columns[metric] for arm in arms]
    rate = all(column.kind == "bool" for column in columns)
    n = len(evidence.examples)
    before, after = (means(arm, metric, n, zero_failed=rate) for arm in arms)
    lost = [_any_failed(arm, n) for arm in arms]
    sign = 1.0 if columns[0].higher_is_better else -1.0
    gain = sign * (after - before)
    gain = np.where(np.isnan(after) & ~np.isnan(before), -np.inf, gain)
    gain = np.where(~np.isnan(after) & np.isnan(before), np.inf, gain)
    flipped = (before >= 0.5) != (after >= 0.5) if rate else np.zeros(n, np.bool_)
    return Paired(
        metric=metric,
        rate=rate,
        higher_is_better=columns[0].higher_is_better,
        before=before,
        after=after,
        gain=gain,
        errored=lost[0] | lost[1],
        flipped=flipped & ~np.isnan(gain),
    )


def means(arm: ArmData, metric: str, n: int, *, zero_failed: bool = False) -> Floats:
    """The metric's mean over repeats for each of `n` examples; NaN where there is none."""
    column = arm.columns.get(metric)
    if column is None:
        return np.full(n, np.nan)
    values = np.where(arm.failed, 0.0, column.values) if zero_failed else column.values
    known = np.isfinite(values)
    sums = np.bincount(arm.example[known], weights=values[known], minlength=n)
    counts = np.bincount(arm.example[known], minlength=n)
    return np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)


def _any_failed(arm: ArmData, n: int) -> Bools:
    return np.bincount(arm.example[arm.failed], minlength=n) > 0


def tally(found: Paired) -> Tally:
    """Wins, ties and losses by example."""
    return Tally(
        better=int((found.gain > 0).sum()),
        same=int((found.gain == 0).sum()),
        worse=int((found.gain < 0).sum()),
    )


def change_unit(found: Paired) -> numbers.Unit:
    """The unit of one example's change."""
    if found.rate:
        return numbers.Unit(scale=100, suffix=" pp", digits=1)
    change = np.abs(found.after - found.before)
    top = float(np.nanmax(change)) if np.isfinite(change).any() else 0.0
    return numbers.level_unit(found.metric, [top], rate=False)


def chosen(found: Paired, *, most: int = MOST_ROWS) -> Ints:
    """Indices of the examples to show, worst first: all, or the worst and the best halves of `most`."""
    gain = np.where(np.isnan(found.gain), 0.0, found.gain)
    order = np.lexsort((np.arange(len(gain)), gain))
    if len(order) <= most:
        return order
    half = most // 2
    return np.concatenate([order[:half], order[-(most - half) :]])


def slices(found: Paired, evidence: Evidence) -> list[Slice]:
    """The difference within the largest slices, worst first; ones with fewer than 5 pairs are left out."""
    usable = np.isfinite(found.before) & np.isfinite(found.after)
    cells: list[tuple[str, Bools]] = []
    for name, texts in evidence.slices.items():
        values, codes = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
        if not 1 < len(values) <= max(50, len(texts) // 5):
            continue
        sizes = np.bincount(codes[usable], minlength=len(values))
        for index in np.argsort(-sizes, kind="stable")[:MOST_SLICES]:
            if sizes[index] >= 5:
                label = str(values[index]) or "(none)"
                label = label if len(evidence.slices) == 1 else f"{name}: {label}"
                cells.append((label, usable & (codes == index)))
    cells = sorted(cells, key=lambda cell: -int(cell[1].sum()))[:MOST_SLICES]
    intervals = [
        paired.paired_difference(
            found.before[kept],
            found.after[kept],
            groups=evidence.groups[kept] if evidence.grouped else None,
            level=SLICE_LEVEL,
        )
        for _, kept in cells
    ]
    p = [1.0 if interval.p is None else interval.p for interval in intervals]
    adjusted = multiplicity.benjamini_hochberg(p) if p else []
    parts = [
        Slice(
            name=name,
            n=int(kept.sum()),
            estimate=interval.estimate,
            low=interval.low,
            high=interval.high,
            tone="flat" if q > 0.05 else _tone(found, interval.estimate),
        )
        for (name, kept), interval, q in zip(cells, intervals, adjusted, strict=True)
    ]
    return sorted(parts, key=lambda part: part.estimate if found.higher_is_better else -part.estimate)


def _tone(found: Paired, change: float) -> views.Tone:
    return "up" if (change > 0) == found.higher_is_better else "down"


def overall(found: Paired, evidence: Evidence) -> Slice | None:
    """The same difference over all examples; None below 5 pairs."""
    usable = np.isfinite(found.before) & np.isfinite(found.after)
    if usable.sum() < 5:
        return None
    interval = paired.paired_difference(
        found.before[usable],
        found.after[usable],
        groups=evidence.groups[usable] if evidence.grouped else None,
        level=SLICE_LEVEL,
    )
    shown = interval.low > 0 or interval.high < 0
    return Slice(
        name="All examples",
        n=interval.n,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        tone=_tone(found, interval.estimate) if shown else "flat",
    )


def points(verdict: Verdict, evidence: Evidence) -> tuple[str, str, list[ArmPoint]]:
    """Quality and cost metric, and a point for each arm that has both; no points where two arms don't."""
    quality = views.headline(verdict, evidence)
    called = views.names(verdict, evidence)
    if quality is None:
        return "", "", []
    n = len(evidence.examples)
    for cost in ("cost_usd", "latency_s", "output_tokens"):
        known: dict[str, tuple[float, float]] = {}
        for name, arm in evidence.arms.items():
            rate = quality in arm.columns and arm.columns[quality].kind == "bool"
            place = _mean(means(arm, quality, n, zero_failed=rate)), _mean(means(arm, cost, n))
            if all(map(math.isfinite, place)):
                known[name] = place
        if len(known) > 1:
            column = evidence.arms[next(iter(known))].columns[quality]
            return quality, cost, _front(known, called, 1.0 if column.higher_is_better else -1.0)
    return quality, "", []


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _front(known: Mapping[str, tuple[float, float]], called: views.Names, sign: float) -> list[ArmPoint]:
    found: list[ArmPoint] = []
    for name, (quality, cost) in known.items():
        beaten = any(
            sign * q >= sign * quality and c <= cost and (q, c) != (quality, cost) for q, c in known.values()
        )
        role = {called.baseline: "baseline", called.candidate: "candidate"}.get(name, "other")
        found.append(ArmPoint(name=name, quality=quality, cost=cost, front=not beaten, role=role))
    return found


def repeats(arm: ArmData, metric: str, example: int) -> list[float]:
    """This metric's values on one example, one a repeat, in order."""
    column = arm.columns.get(metric)
    if column is None:
        return []
    first, last = np.searchsorted(arm.example, [example, example + 1])
    return [float(v) for v in column.values[first:last]]


def answers(arm: ArmData, example: int) -> list[Json]:
    """The parsed answers on one example, where the evidence keeps them."""
    first, last = np.searchsorted(arm.example, [example, example + 1])
    return list(arm.answers[int(first) : int(last)])
