"""What a load test found, arm by arm: times with intervals, rates, goodput, errors, and how two arms differ.

Every figure rests on all requests that were scheduled after the warm-up. A failed one has an infinite time to its first
token and to its end, and misses its goodput; times of single tokens are of answers that came.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ratchet import prices
from ratchet.loads import quantiles
from ratchet.loads.records import (
    ERROR_KINDS,
    INTERRUPTED,
    Flags,
    Floats,
    Health,
    Integers,
    Measured,
    Mode,
    Samples,
    Slo,
)
from ratchet.ports import Usage
from ratchet.records import Price
from ratchet.stats.intervals import Interval
from ratchet.stats.proportions import rate_interval
from ratchet.stats.quantiles import quantile, quantile_interval

SHARES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
LEVEL = 0.95
NEEDED = {"p50": 5, "p90": 29, "p95": 59, "p99": 299}
"""Rows from which a one-sided 95 % bound of the quantile exists: log(0.05) / log(q)."""
COMPARED = ("ttft_s", "e2e_s", "tpot_s")
TIMES = ("ttft_s", "tpot_s", "gap_s", "e2e_s", "ttft_from_send_s", "e2e_from_send_s")
TITLES: Mapping[str, str] = {
    "ttft_s": "time to first token",
    "tpot_s": "time per output token",
    "gap_s": "inter-token gap",
    "e2e_s": "end to end",
    "ttft_from_send_s": "first token from send",
    "e2e_from_send_s": "end to end from send",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """One quantile of a time, in seconds, with its two-sided 95 % interval."""

    value: float | None
    """None: it falls on failed requests, so it has no end."""
    low: float | None
    high: float | None
    """None: so few rows bound it on this side not at all."""
    needs: int | None = None
    """How many rows it would take, where there are too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One time of one arm."""

    name: str
    n: int
    quantiles: Mapping[str, Quantile]
    """By "p50", "p90", "p95" and "p99"."""
    mean: float
    max: float
    """Both of answers that came."""
    correlated: bool = False
    """Blocks of time differ by more than chance: intervals rest on blocks, not on single requests."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of requests, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant under load, warm-up left out."""

    name: str
    scheduled: int
    """Requests that were to start: the n of every share."""
    succeeded: int
    failed: int
    never_sent: int
    """Part of the failed: those whose bytes never left."""
    errors: Mapping[str, int]
    """By kind."""
    goodput: Share
    good_per_s: float
    offered_rate: float
    """Requests scheduled per second."""
    achieved_rate: float
    """Requests answered without error per second."""
    tokens_per_s: float | None
    """Output tokens of all answers per second; None where the server counts none."""
    tokens_per_s_each: float | None
    """Median over requests, from first to last token."""
    input_tokens: int
    output_tokens: int
    cached_share: float | None
    """Of the input tokens, read from the server's cache; None where it doesn't say."""
    cost_usd: float | None
    timings: Mapping[str, Timing] = field(default_factory=dict[str, Timing])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one quantile of a time differs between two arms, in seconds: after minus before."""

    before: str
    after: str
    metric: str
    quantile: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    needs: int | None = None
    """How many rows it would take, where there are too few: then there is no estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A load test in numbers."""

    load: str
    """What was offered: "20 requests/s Poisson, open loop"."""
    mode: Mode
    slo: Slo
    arms: Mapping[str, Arm]
    differences: tuple[Difference, ...]
    health: Health
    window_s: float
    """Seconds over which requests were scheduled, warm-up left out."""
    warm_up: int
    """Requests left out as warm-up, all arms."""
    interrupted: bool
    notes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether it speaks of the server: the generator kept up, and something was measured."""
        return self.health.valid and all(arm.scheduled for arm in self.arms.values())

    @property
    def invalid_because(self) -> tuple[str, ...]:
        reasons = [shortage.reason for shortage in self.health.shortages]
        reasons += [f"{arm.name}: no request was measured" for arm in self.arms.values() if not arm.scheduled]
        return tuple(reasons)


def summarise(
    measured: Measured,
    *,
    load: str,
    slo: Slo | None = None,
    prices_by_arm: Mapping[str, Price | None] | None = None,
) -> Result:
    """The test in numbers.

    Args:
        load: What was offered, as `schedules.describe` says it.
        slo: What counts as good; None: success alone.
    """
    slo = slo or Slo()
    kept = measured.samples.measured()
    window = _window(kept.scheduled_s)
    names = measured.samples.arms
    each = {name: kept.select(kept.arm == place) for place, name in enumerate(names)}
    # completions of the warm-up's last requests fall into the window too
    whole = {name: measured.samples.select(measured.samples.arm == place) for place, name in enumerate(names)}
    listed = prices_by_arm or {}
    arms = {
        name: _arm(name, samples, whole[name], slo=slo, price=listed.get(name), window=window)
        for name, samples in each.items()
    }
    warm_up = int(measured.samples.warm_up.sum())
    return Result(
        load=load,
        mode=measured.mode,
        slo=slo,
        arms=arms,
        differences=tuple(_differences(each, paired=measured.mode == "open", arms=len(names))),
        health=measured.health,
        window_s=window[1] - window[0],
        warm_up=warm_up,
        interrupted=measured.ended == "interrupted",
        notes=tuple(_notes(measured, arms)),
    )


def _window(scheduled_s: Floats) -> tuple[float, float]:
    """From the first to one mean gap past the last intended start."""
    n = len(scheduled_s)
    if n == 0:
        return 0.0, 0.0
    first, last = float(scheduled_s.min()), float(scheduled_s.max())
    starts = len(np.unique(scheduled_s))
    return first, first + (last - first) * starts / max(starts - 1, 1)


def _arm(
    name: str, samples: Samples, whole: Samples, *, slo: Slo, price: Price | None, window: tuple[float, float]
) -> Arm:
    n, ok, good = len(samples), samples.ok, samples.meets(slo)
    seconds = window[1] - window[0]
    kinds = np.bincount(samples.error[~ok], minlength=len(ERROR_KINDS))
    answered = _answered_in(whole, samples, window)
    tokens = samples.output_tokens[ok]
    known = bool((tokens >= 0).any())
    answer_tokens = whole.output_tokens[answered]
    blocks = quantiles.blocks_of(samples.scheduled_s) if n else np.empty(0, np.int64)
    return Arm(
        name=name,
        scheduled=n,
        succeeded=int(ok.sum()),
        failed=int((~ok).sum()),
        never_sent=int((~ok & np.isnan(samples.sent_s)).sum()),
        errors={ERROR_KINDS[kind]: int(count) for kind, count in enumerate(kinds) if count},
        goodput=_share(good.astype(np.float64), blocks),
        good_per_s=int(good.sum()) / seconds if seconds > 0 else 0.0,
        offered_rate=n / seconds if seconds > 0 else 0.0,
        achieved_rate=int(answered.sum()) / seconds if seconds > 0 else 0.0,
        tokens_per_s=int(answer_tokens[answer_tokens > 0].sum()) / seconds if known and seconds > 0 else None,
        tokens_per_s_each=_speed(samples),
        input_tokens=_total(samples.input_tokens),
        output_tokens=_total(samples.output_tokens),
        cached_share=_cached_share(samples),
        cost_usd=cost_of(whole, price),
        timings={timing.name: timing for timing in _timings(samples, blocks)},
    )


def _answered_in(whole: Samples, samples: Samples, window: tuple[float, float]) -> np.ndarray:
    """Rows that were answered while the load lasted, both ends moved by one median answer.

    What is scheduled in a window is answered a latency later: counting ends between the first and the last start would
    miss the last answers of a short test, and dividing by the time until the last answer would count its idle end.
    """
    latencies = samples.e2e_s[samples.ok]
    shift = float(np.median(latencies)) if len(latencies) else 0.0
    ends = whole.last_byte_s
    return whole.ok & (ends >= window[0] + shift) & (ends < window[1] + shift)


def _total(counts: np.ndarray) -> int:
    return int(counts[counts > 0].sum())


def _speed(samples: Samples) -> float | None:
    """Median output tokens per second of one request after its first token."""
    per_token = samples.tpot_s[samples.ok]
    per_token = per_token[np.isfinite(per_token) & (per_token > 0)]
    return float(1.0 / np.median(per_token)) if len(per_token) else None


def _cached_share(samples: Samples) -> float | None:
    known = (samples.cached_tokens >= 0) & (samples.input_tokens > 0)
    total = int(samples.input_tokens[known].sum())
    return float(samples.cached_tokens[known].sum()) / total if total else None


def cost_of(samples: Samples, price: Price | None) -> float | None:
    """Dollars of these requests, warm-up included, for it is paid too; None where a price or a count is unknown."""
    each = costs_of(samples, price)
    answered = samples.ok
    if not answered.any():
        return 0.0 if price is not None else None
    if price is None or bool(np.isnan(each[answered]).any()):
        return None
    return float(np.nansum(each))


def costs_of(samples: Samples, price: Price | None) -> Floats:
    """Dollars of each request; NaN where unknown. A refused request without a count costs nothing."""
    found = np.full(len(samples), np.nan)
    if price is None:
        return found
    known: dict[tuple[int, int, int], float] = {}
    columns = zip(
        samples.input_tokens.tolist(),
        samples.output_tokens.tolist(),
        samples.cached_tokens.tolist(),
        strict=True,
    )
    for row, counts in enumerate(columns):
        if counts not in known:
            given, made, cached = (None if count < 0 else count for count in counts)
            usd = prices.cost_usd(price, Usage(input_tokens=given, output_tokens=made, cached_tokens=cached))
            known[counts] = math.nan if usd is None else usd
        found[row] = known[counts]
    found[~samples.ok & np.isnan(found)] = 0.0
    return found


def _share(good: Floats, blocks: Integers) -> Share:
    if not len(good):
        return Share(value=0.0, low=0.0, high=1.0, n=0, method="no request")
    apart = quantiles.design_effect(good, blocks) > 1.0
    found = rate_interval(good, groups=blocks if apart else None, level=LEVEL)
    method = f"{found.method}, blocks of time" if apart else found.method
    return Share(value=found.estimate, low=found.low, high=found.high, n=len(good), method=method)


def _timings(samples: Samples, blocks: Integers) -> Iterator[Timing]:
    for name in TIMES:
        if name == "gap_s":
            if len(samples.gaps):
                yield _gap_timing(samples)
            continue
        values, rows = _values(samples, name)
        if len(values):
            yield _timing(name, values, blocks[rows])


def _gap_timing(samples: Samples) -> Timing:
    """Of all gaps of answers; the request is the unit, for the tokens of one answer are slow together."""
    ordered = np.sort(samples.gaps)
    requests = int((np.diff(samples.offsets) > 0).sum())
    found: dict[str, Quantile] = {}
    for label, q in SHARES.items():
        interval = quantiles.pooled_interval(ordered, samples.gaps, samples.offsets, q, level=LEVEL)
        found[label] = Quantile(
            value=interval.estimate, low=_finite(interval.low), high=_finite(interval.high)
        )
    thinned = f" of every {samples.gap_stride}th request" if samples.gap_stride > 1 else ""
    return Timing(
        name="gap_s",
        n=len(ordered),
        quantiles=found,
        mean=float(ordered.mean(dtype=np.float64)),
        max=float(ordered[-1]),
        note=f"gaps{thinned} in {requests:,} answers",
    )


def _values(samples: Samples, name: str) -> tuple[Floats, Flags]:
    """The values of a time and which rows they belong to; none where it was not measured."""
    values: Floats = getattr(samples, name)
    measured = samples.ok & np.isfinite(values)
    if name == "tpot_s" or not measured.any():
        return values[measured], measured
    # a failure has no end; an answer that has no first token beside others that have one (a bare tool call) is left out
    values = np.where(samples.ok, values, np.inf)
    rows = ~np.isnan(values)
    return values[rows], rows


def _timing(name: str, values: Floats, blocks: Integers) -> Timing:
    finite = values[np.isfinite(values)]
    found: dict[str, Quantile] = {}
    correlated = False
    ordered = np.sort(values)
    for label, q in SHARES.items():
        point = quantile(ordered, q)
        apart = quantiles.design_effect(values > point, blocks) > 1.0
        correlated = correlated or apart
        found[label] = _quantile(ordered, values, q, point, NEEDED[label], blocks if apart else None)
    return Timing(
        name=name,
        n=len(values),
        quantiles=found,
        mean=float(finite.mean()),
        max=float(finite.max()),
        correlated=correlated,
    )


def _quantile(
    ordered: Floats, values: Floats, q: float, point: float, needed: int, blocks: Integers | None
) -> Quantile:
    n = len(values)
    if blocks is None:
        interval = quantile_interval(ordered, q, level=LEVEL)
    else:
        interval = quantile_interval(values, q, groups=blocks, level=LEVEL)
    enough = n >= needed
    return Quantile(
        value=_finite(point) if enough else None,
        low=_finite(interval.low) if enough else None,
        high=_finite(interval.high) if enough else None,
        needs=None if enough else needed,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- two arms -------------------------------------------------------------------------------------------------


def _differences(each: Mapping[str, Samples], *, paired: bool, arms: int) -> Iterator[Difference]:
    """Every later arm against the first."""
    names = list(each)
    for other, metric in itertools.product(names[1:], COMPARED):
        before, after = each[names[0]], each[other]
        for label in ("p50", "p95", "p99"):
            found = difference(before, after, metric, SHARES[label], arms=arms if paired else None)
            if found is None:
                break
            needed = quantiles.rows_needed(SHARES[label])
            enough = found.n >= needed
            yield Difference(
                before=names[0],
                after=other,
                metric=metric,
                quantile=label,
                estimate=_finite(found.estimate) if enough else None,
                low=_finite(found.low) if enough else None,
                high=_finite(found.high) if enough else None,
                n=found.n,
                method=found.method,
                needs=None if enough else needed,
            )


def difference(
    before: Samples, after: Samples, metric: str, q: float, *, arms: int | None, level: float = LEVEL
) -> Interval | None:
    """How the q-quantile of a time differs, after minus before; None where one arm has no such time.

    Args:
        metric: A name of TIMES, but for "gap_s".
        arms: How many arms share each slot of the schedule, so that rows of one slot pair; None: they don't.
    """
    sides = [_values(samples, metric) for samples in (before, after)]
    if any(not len(values) for values, _ in sides):
        return None
    slots: list[Integers] = []
    times: list[Floats] = []
    for samples, (_, rows) in zip((before, after), sides, strict=True):
        slots.append(samples.index[rows] // arms if arms else samples.index[rows])
        times.append(samples.scheduled_s[rows])
    values = [side[0] for side in sides]
    if arms:
        shared, first, second = np.intersect1d(slots[0], slots[1], assume_unique=True, return_indices=True)
        # a slot that one arm can't answer for is no reason to drop it in the other
        if len(shared) == len(slots[0]) == len(slots[1]):
            values = [values[0][first], values[1][second]]
            times = [times[0][first], times[1][second]]
            return quantiles.difference(
                values[0], values[1], q, times=(times[0], times[1]), paired=True, level=level
            )
    return quantiles.difference(values[0], values[1], q, times=(times[0], times[1]), level=level)


def _notes(measured: Measured, arms: Mapping[str, Arm]) -> Iterator[str]:
    samples = measured.samples
    if measured.ended == "interrupted":
        cut = int((samples.error == INTERRUPTED).sum())
        yield f"stopped early: {cut:,} requests in flight were left out"
    if measured.mode == "closed":
        yield (
            "closed loop: when the server stalls, its users wait and send less, so the tail is hidden; "
            "an open loop (--rate) shows it"
        )
    for arm in arms.values():
        if arm.scheduled and arm.failed == arm.scheduled:
            yield f"{arm.name}: every request failed"
        elif arm.failed and "e2e_s" in arm.timings:
            yield f"{arm.name}: {arm.failed:,} failed requests count as infinitely slow"
    if samples.gap_stride > 1:
        yield f"inter-token gaps are those of every {samples.gap_stride}th request: all of them would not fit"
    yield from measured.health.notes


def slo_text(slo: Slo) -> str:
    """`ttft <= 0.5 s, e2e <= 5 s`; "success alone" where nothing is limited."""
    limits = (("ttft", slo.ttft_s), ("tpot", slo.tpot_s), ("e2e", slo.e2e_s), ("gap", slo.gap_s))
    said = [f"{name} <= {limit:g} s" for name, limit in limits if limit is not None]
    return ", ".join(said) or "success alone"
