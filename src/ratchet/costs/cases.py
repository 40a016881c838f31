"""From bills to a cost case: per call, per success, per month, and what a change saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from ratchet.costs.bills import Bill, Bills, Floats
from ratchet.costs.records import ArmCost, CostCase, Migration, Range, Swing, Traffic, WhatIf
from ratchet.errors import ConfigError, UnknownNameError
from ratchet.ports import Usage
from ratchet.prices import Split, split
from ratchet.records import Price
from ratchet.stats.bootstrap import totals_interval
from ratchet.stats.intervals import Interval
from ratchet.stats.paired import mean_interval, paired_difference
from ratchet.stats.ratios import ratio_of_means

_DAYS_A_MONTH = 30.4375
_FARTHEST_MONTHS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the money depends on beside the answers."""

    traffic: Traffic | None = None
    one_off_usd: float = 0.0
    spent_usd: float = 0.0
    """On validation, over all runs of the dataset."""
    prices: Mapping[str, Price] | None = None
    """By arm: these in place of the run's."""
    cached_share: float | None = None
    """What if this share of the input tokens were read from the provider's cache?"""
    batch_discount: float | None = None
    """What if this share of the price were let off, as for batches that may take a day?"""
    today: date | None = None


def build(
    bills: Bills, terms: Terms, *, baseline: str | None = None, candidate: str | None = None
) -> CostCase:
    """The cost case of these bills; with two arms or named ones, also what going from one to the other saves.

    Raises:
        UnknownNameError: There is no such arm.
        ConfigError: An arm can't be priced as asked.
    """
    notes: list[str] = []
    arms = {name: _repriced(bill, terms) for name, bill in bills.arms.items()}
    for name in (terms.prices or {}).keys() | {n for n in (baseline, candidate) if n}:
        if name not in arms:
            raise UnknownNameError("arm", name, list(arms))
    found = {name: _arm_cost(bill, terms.traffic) for name, bill in arms.items()}
    for arm in found.values():
        if arm.unpriced:
            notes.append(
                f"{arm.unpriced:,} of {arm.answers:,} answers of {arm.name} have no known price and are in no figure; "
                "--price names one"
            )
    pair = _pair(arms, baseline, candidate)
    migration = _migration(arms[pair[0]], arms[pair[1]], terms, notes) if pair else None
    return CostCase(
        run_id=bills.run_id,
        run_name=bills.run_name,
        success_metric=bills.success_metric,
        arms=tuple(found.values()),
        judge_usd=bills.judge_usd,
        spent_usd=bills.judge_usd + sum(bill.paid_usd for bill in bills.arms.values()),
        traffic=terms.traffic,
        migration=migration,
        what_if=tuple(_what_if(list(arms.values()), terms, notes)),
        swings=tuple(_swings(arms, found, pair, migration, terms)),
        notes=tuple(notes),
    )


def _pair(arms: Mapping[str, Bill], baseline: str | None, candidate: str | None) -> tuple[str, str] | None:
    names = list(arms)
    if len(names) < 2:
        return None
    first = baseline or next(name for name in names if name != candidate)
    second = candidate or next(name for name in names if name != first)
    if first == second:
        raise ConfigError(f"baseline and candidate are both {first!r}; expected two of {', '.join(names)}")
    return first, second


# --- one arm ----------------------------------------------------------------------------------------------------


def _repriced(bill: Bill, terms: Terms) -> Bill:
    """The bill at the price given for its arm, attempts that failed priced as the answer is."""
    price = (terms.prices or {}).get(bill.name)
    if price is None:
        return bill
    answer = _priced(bill, price)
    if not np.isfinite(answer).any():
        raise ConfigError(
            f"the answers of {bill.name} have no token counts, so --price can't be applied to them"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(bill.answer_usd > 0, bill.cost_usd / bill.answer_usd, 1.0)
    share = np.where(np.isfinite(share), np.maximum(share, 1.0), 1.0)
    failed = (bill.failed == 1) & ~np.isfinite(answer)
    return replace(bill, price=price, answer_usd=answer, cost_usd=np.where(failed, 0.0, answer * share))


def _priced(bill: Bill, price: Price) -> Floats:
    """Dollars of each call's tokens at this price, vectorised where the price has no steps."""
    parts = _split_columns(bill, price)
    return np.asarray(sum(parts.values()), dtype=np.float64)


def _split_columns(bill: Bill, price: Price) -> dict[str, Floats]:
    """Dollars by what they are paid for, a value a call."""
    cached = np.nan_to_num(bill.cached_tokens)
    reasoning = np.nan_to_num(bill.reasoning_tokens)
    if price.above is None:
        rate_in, rate_out = price.input_usd_per_mtok / 1e6, price.output_usd_per_mtok / 1e6
        rate_cached = price.cached_usd_per_mtok
        rate_reasoning = price.reasoning_usd_per_mtok
        known = np.where(np.isfinite(bill.input_tokens + bill.output_tokens), 1.0, math.nan)
        return {
            "input_usd": np.maximum(bill.input_tokens - cached, 0.0) * rate_in,
            "cached_usd": cached * (rate_in if rate_cached is None else rate_cached / 1e6) * known,
            "output_usd": np.maximum(bill.output_tokens - reasoning, 0.0) * rate_out,
            "reasoning_usd": reasoning
            * (rate_out if rate_reasoning is None else rate_reasoning / 1e6)
            * known,
            "request_usd": price.request_usd * known,
        }
    names = ("input_usd", "cached_usd", "output_usd", "reasoning_usd", "request_usd")
    columns = {name: np.full(len(bill.example), math.nan) for name in names}
    for i in np.flatnonzero(np.isfinite(bill.input_tokens + bill.output_tokens)).tolist():
        usage = Usage(
            input_tokens=int(bill.input_tokens[i]), output_tokens=int(bill.output_tokens[i]),
            cached_tokens=int(cached[i]), reasoning_tokens=int(reasoning[i]),
        )  # fmt: skip
        parts = split(price, usage)
        for name in names:
            columns[name][i] = getattr(parts, name)
    return columns


def _arm_cost(bill: Bill, traffic: Traffic | None) -> ArmCost:
    priced = np.isfinite(bill.cost_usd)
    per_call = _mean(bill, bill.cost_usd)
    extra = np.maximum(bill.cost_usd - bill.answer_usd, 0.0)
    # a failed call's whole price bought no answer
    retry = np.where(bill.failed == 1, np.nan_to_num(bill.cost_usd), np.nan_to_num(extra))
    scored = np.isfinite(bill.success)
    return ArmCost(
        name=bill.name,
        model=bill.model,
        price=bill.price,
        answers=len(bill.example),
        unpriced=int((~priced).sum()),
        failed=int(bill.failed.sum()),
        per_call_usd=per_call,
        retry_usd=float(retry[priced].mean()) if priced.any() else 0.0,
        parts=_mean_parts(bill),
        tokens={
            name: float(column[np.isfinite(column)].mean())
            for name, column in (
                ("input", bill.input_tokens),
                ("cached", bill.cached_tokens),
                ("output", bill.output_tokens),
                ("reasoning", bill.reasoning_tokens),
            )
            if np.isfinite(column).any()
        },
        success_share=float(bill.success[scored].mean()) if scored.any() else None,
        per_success_usd=_per_success(bill),
        per_month_usd=_product(per_call, traffic),
    )


def _mean(bill: Bill, values: Floats) -> Range | None:
    known = np.isfinite(values)
    if not known.any():
        return None
    low, high = float(values[known].min()), float(values[known].max())
    if low == high:  # one call, or a price that doesn't vary, as that of a function
        certain = low if known.sum() > 1 else None
        return Range(value=low, low=certain, high=certain, n=int(known.sum()))
    return _range(mean_interval(values[known], examples=bill.example[known], groups=_groups(bill, known)))


def _groups(bill: Bill, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> np.ndarray | None:
    """The clusters of these rows, or None where every example is its own."""
    groups, examples = bill.group[rows], bill.example[rows]
    return groups if len(np.unique(groups)) < len(np.unique(examples)) else None


def _range(interval: Interval) -> Range:
    low, high = (end if math.isfinite(end) else None for end in (interval.low, interval.high))
    return Range(value=interval.estimate, low=low, high=high, method=interval.method, n=interval.n)


def _mean_parts(bill: Bill) -> Split | None:
    if bill.price is None or not np.isfinite(bill.answer_usd).any():
        return None
    columns = _split_columns(bill, bill.price)
    known = np.isfinite(sum(columns.values()))
    if not known.any():
        return None
    return Split(**{name: float(column[known].mean()) for name, column in columns.items()})


def _per_success(bill: Bill) -> Range | None:
    """All dollars over the number of correct answers, groups resampled whole."""
    known = np.isfinite(bill.cost_usd) & np.isfinite(bill.success)
    if known.sum() < 2 or bill.success[known].sum() == 0:
        return None
    groups = bill.group[known]

    def ratio(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[:, 0] / sums[:, 1])

    rows = np.column_stack([bill.cost_usd[known], bill.success[known]])
    return _range(totals_interval(rows, ratio, groups=groups))


def _product(per_call: Range | None, traffic: Traffic | None) -> Range | None:
    """Dollars a month; where both factors are uncertain their relative errors add in squares (delta method)."""
    if per_call is None or traffic is None:
        return None
    calls = traffic.calls_per_month
    value = per_call.value * calls.value

    def end(a: float | None, b: float | None, sign: int) -> float | None:
        if a is None or b is None:
            return None
        off = math.hypot((a - per_call.value) * calls.value, (b - calls.value) * per_call.value)
        return value + sign * off

    low = end(per_call.low, calls.low if per_call.value >= 0 else calls.high, -1)
    high = end(per_call.high, calls.high if per_call.value >= 0 else calls.low, 1)
    return Range(value=value, low=low, high=high, method=per_call.method, n=per_call.n)


# --- two arms ---------------------------------------------------------------------------------------------------


def _migration(before: Bill, after: Bill, terms: Terms, notes: list[str]) -> Migration | None:
    first, second, examples, groups = _paired(before, after)
    if len(first) < 2:
        notes.append(
            f"{before.name} and {after.name} share fewer than two priced examples: no saving is stated"
        )
        return None
    saving = _range(paired_difference(second, first, examples=examples, groups=groups))
    share = None
    if first.sum() > 0 and second.sum() > 0:
        found = _range(ratio_of_means(first, second, examples=examples, groups=groups))
        share = Range(
            value=1 - found.value,
            low=None if found.high is None else 1 - found.high,
            high=None if found.low is None else 1 - found.low,
            method=found.method,
            n=found.n,
        )
    monthly = _product(saving, terms.traffic)
    one_off = terms.one_off_usd + terms.spent_usd
    months = _break_even(one_off, monthly)
    return Migration(
        baseline=before.name,
        candidate=after.name,
        saving_per_call_usd=saving,
        saving_share=share,
        spent_usd=terms.spent_usd,
        one_off_usd=terms.one_off_usd,
        saving_per_month_usd=monthly,
        break_even_months=months,
        break_even_on=_on(months, terms.today),
    )


def _paired(before: Bill, after: Bill) -> tuple[Floats, Floats, np.ndarray, np.ndarray | None]:
    """Mean dollars of each example that both arms have priced, with its number and cluster."""
    first, second = _by_example(before), _by_example(after)
    shared = sorted(first.keys() & second.keys())
    groups = dict(zip(before.example.tolist(), before.group.tolist(), strict=True))
    clusters = np.array([groups[example] for example in shared], dtype=np.int64)
    return (
        np.array([first[example] for example in shared]),
        np.array([second[example] for example in shared]),
        np.array(shared, dtype=np.int64),
        clusters if len(set(clusters.tolist())) < len(shared) else None,
    )


def _by_example(bill: Bill) -> dict[int, float]:
    known = np.isfinite(bill.cost_usd)
    examples, values = bill.example[known], bill.cost_usd[known]
    if not len(examples):
        return {}
    sums, counts = np.bincount(examples, weights=values), np.bincount(examples)
    return {int(code): float(sums[code] / counts[code]) for code in np.unique(examples)}


def _break_even(one_off_usd: float, monthly: Range | None) -> Range | None:
    """Months until the saving has paid for going over."""
    if monthly is None or monthly.value <= 0:
        return None

    def months(saving: float | None) -> float | None:
        return None if saving is None or saving <= 0 else one_off_usd / saving

    return Range(value=one_off_usd / monthly.value, low=months(monthly.high), high=months(monthly.low))


def _on(months: Range | None, today: date | None) -> str | None:
    if months is None or months.value > _FARTHEST_MONTHS:
        return None
    start = today or date.today()  # noqa: DTZ011 - a calendar day where the user is
    return (start + timedelta(days=math.ceil(months.value * _DAYS_A_MONTH))).isoformat()


# --- other terms ------------------------------------------------------------------------------------------------


def _what_if(arms: Sequence[Bill], terms: Terms, notes: list[str]) -> list[WhatIf]:
    priced = [bill for bill in arms if np.nansum(bill.cost_usd) > 0]
    found: list[WhatIf] = []
    if terms.cached_share is not None:
        cacheable = [bill for bill in priced if bill.price and bill.price.cached_usd_per_mtok is not None]
        for bill in cacheable:
            change = f"{100 * terms.cached_share:g} % of input from cache"
            found.append(_what(bill, _cached_cost(bill, terms.cached_share), terms, change))
        if without := [bill.name for bill in priced if bill not in cacheable]:
            notes.append(
                f"no rate for cached input is known of {', '.join(without)}, so nothing is said about their cache; "
                f"--price {without[0]}=INPUT/OUTPUT/CACHED names one"
            )
    if terms.batch_discount is not None:
        for bill in priced:
            cost = float(np.nanmean(bill.cost_usd)) * (1 - terms.batch_discount)
            found.append(_what(bill, cost, terms, f"{100 * terms.batch_discount:g} % off for batches"))
    return found


def _what(bill: Bill, per_call_usd: float, terms: Terms, change: str) -> WhatIf:
    calls = terms.traffic.calls_per_month.value if terms.traffic else None
    return WhatIf(
        arm=bill.name,
        change=change,
        per_call_usd=per_call_usd,
        per_month_usd=None if calls is None else per_call_usd * calls,
    )


def _cached_cost(bill: Bill, share: float) -> float:
    """Dollars per call were this share of the input read from the cache."""
    assert bill.price is not None
    cost = _priced(replace(bill, cached_tokens=bill.input_tokens * share), bill.price)
    retry = np.nan_to_num(np.maximum(bill.cost_usd - bill.answer_usd, 0.0))
    return float(np.nanmean(cost + retry))


def _swings(
    arms: Mapping[str, Bill],
    found: Mapping[str, ArmCost],
    pair: tuple[str, str] | None,
    migration: Migration | None,
    terms: Terms,
) -> list[Swing]:
    """What moves the monthly saving, or with one arm the monthly bill; widest first. Nothing without traffic."""
    if terms.traffic is None:
        return []
    calls = terms.traffic.calls_per_month
    swings: list[Swing] = []
    if migration is not None and pair is not None:
        base = migration.saving_per_call_usd
        monthly = base.value * calls.value
        measured = base
        signs = {pair[0]: 1.0, pair[1]: -1.0}
    else:
        only = next(iter(found.values()))
        if only.per_call_usd is None:
            return []
        measured = only.per_call_usd
        monthly = measured.value * calls.value
        signs = {only.name: 1.0}
    counted = calls.low is not None and calls.high is not None and calls.high > calls.low
    ends = (calls.low, calls.high) if counted else (0.5 * calls.value, 2.0 * calls.value)
    assert ends[0] is not None
    assert ends[1] is not None
    swings.append(
        Swing(
            name="traffic",
            low_text=f"{ends[0]:,.0f} calls" if counted else "half",
            low_usd=measured.value * ends[0],
            high_text=f"{ends[1]:,.0f} calls" if counted else "double",
            high_usd=measured.value * ends[1],
        )
    )
    if measured.low is not None and measured.high is not None:
        swings.append(
            Swing(
                name="what was measured (95 %)",
                low_text="low",
                low_usd=measured.low * calls.value,
                high_text="high",
                high_usd=measured.high * calls.value,
            )
        )
    for name, sign in signs.items():
        swings.extend(_token_swings(found[name], sign, monthly, calls.value))
    return sorted(swings, key=lambda swing: -swing.width_usd)


def _token_swings(arm: ArmCost, sign: float, monthly: float, calls: float) -> list[Swing]:
    if arm.parts is None:
        return []
    parts = {
        "input tokens": arm.parts.input_usd + arm.parts.cached_usd + arm.parts.cache_write_usd,
        "output tokens": arm.parts.output_usd + arm.parts.reasoning_usd,
    }
    return [
        Swing(
            name=f"{arm.name}: {what}",
            low_text="-20 %",
            low_usd=monthly - 0.2 * sign * dollars * calls,
            high_text="+20 %",
            high_usd=monthly + 0.2 * sign * dollars * calls,
        )
        for what, dollars in parts.items()
        if dollars > 0
    ]
