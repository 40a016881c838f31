"""A check at a look of a run that stops when decided: the interval holds however often, and whenever, one looks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ratchet.evidence import Floats
from ratchet.records import Check
from ratchet.stats._special import normal_cdf, normal_quantile
from ratchet.stats.means import SMALL_N
from ratchet.stats.sequential import (
    BURN_IN,
    asymptotic_multiplier,
    asymptotic_p,
    betting_interval,
    betting_p,
)
from ratchet.verdicts import judged, repeats
from ratchet.verdicts.estimates import Estimate, Question, estimate
from ratchet.verdicts.pairs import Pair
from ratchet.verdicts.values import FLAGS, REPEAT_MEASURES, sides

FUTILE = 0.10
"""A check that the end would decide with less than this chance is not waited for."""
_OVER_TOTALS = ("macro_f1", "micro_f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a run: how many of its planned examples, in the order of its plan, are judged."""

    n: int
    planned: int

    @property
    def fraction(self) -> float:
        return self.n / self.planned

    @property
    def final(self) -> bool:
        """Whether nothing is left to try."""
        return self.n >= self.planned


def has_method(check: Check) -> bool:
    """Whether this check has an anytime-valid interval: means, rates and ratios of means, also over repeats.

    Percentiles, F1 and one label's Jaccard have none. They are judged once, at the planned end, and so by the fixed
    method at their full alpha: a claim that is looked at once needs no correction.
    """
    totals = check.measure in _OVER_TOTALS or (check.measure == "jaccard" and check.label is not None)
    return check.measure != "quantile" and not totals


def estimate_at(question: Question, pair: Pair, look: Look) -> Estimate:
    """The estimate that answers this check at this look, with an anytime-valid interval and p-values.

    Shares of single examples get the betting sequence, which is exact; all else the asymptotic one: the limits of the
    fixed method, its reach widened from a normal quantile to the sequence's multiple of the standard error (on the
    log scale for ratios), infinite before 50 examples or groups. Where the end has fewer than 50, no look before it
    had limits, and it is judged by the fixed method.

    Raises:
        NoValuesError: The data can't answer it; the text says why.
    """
    fixed = estimate(question, pair)
    check = question.check
    if not has_method(check) or judged.is_corrected(check, pair):
        return _at_the_end(question, fixed, look)
    bounds = _bounds(check, pair)
    values = None if bounds is None else _values(check, pair)
    if bounds is not None and values is not None and _within(values, bounds):
        found = _by_betting(question, fixed, values, bounds)
    elif _too_few(fixed) and look.final:
        return fixed
    else:
        found = _widened(question, fixed, look)
    return replace(found, chances=_chances(question, fixed, look, asymptotic_multiplier(1.0, question.level)))


def _at_the_end(question: Question, fixed: Estimate, look: Look) -> Estimate:
    """The fixed estimate at the planned end; before it, its value without limits."""
    z = normal_quantile(1.0 - question.alpha)
    if look.final:
        return fixed
    blank = replace(
        fixed.interval, low=-math.inf, high=math.inf, p=None, note="no anytime-valid method: judged at the end alone"
    )  # fmt: skip
    return replace(
        fixed, interval=blank, p_passes=None, p_fails=None, chances=_chances(question, fixed, look, z)
    )


def _bounds(check: Check, pair: Pair) -> tuple[float, float] | None:
    """The bounds of a unit's value that are known beforehand; None where there are none, or units share a group."""
    if pair.groups is not None or check.relative or check.measure == "ratio" or "worst" in check.settings:
        return None
    column = pair.candidate.columns.get(check.metric)
    shares = (
        check.metric in (*FLAGS, "stability")
        or check.measure in (*REPEAT_MEASURES[:6], "rate", "accuracy")
        or check.label is not None
        or (column is not None and column.kind in ("bool", "labels"))
    )
    if not shares:
        return None
    return (0.0, 1.0) if check.rule in ("at_most", "at_least") else (-1.0, 1.0)


def _values(check: Check, pair: Pair) -> Floats:
    """One number a unit, in the order of the plan: the difference, or the candidate's own value for a limit."""
    over = repeats.is_over_repeats(check, pair)
    found = repeats.sides_by_example(check, pair) if over else sides(check, pair)
    if check.rule in ("at_most", "at_least"):
        _, codes = np.unique(found.after_unit, return_inverse=True)
        return np.bincount(codes, weights=found.after) / np.bincount(codes)
    before, after, _ = found.by_unit()
    return after - before


def _within(values: Floats, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= float(values.min()) and float(values.max()) <= bounds[1]


def _by_betting(question: Question, fixed: Estimate, values: Floats, bounds: tuple[float, float]) -> Estimate:
    found = betting_interval(values, bounds=bounds, level=question.level)
    null = question.sign * question.bound
    better, worse = ("greater", "less") if question.sign > 0 else ("less", "greater")
    interval = replace(
        found,
        estimate=fixed.interval.estimate,
        null=null,
        n_rows=fixed.interval.n_rows,
        too_small=len(values) < SMALL_N,
    )
    p_passes, p_fails = (
        betting_p(values, null=null, alternative=side, bounds=bounds, level=question.level)
        for side in (better, worse)
    )
    return replace(fixed, interval=interval, p_passes=p_passes, p_fails=p_fails)


def _widened(question: Question, fixed: Estimate, look: Look) -> Estimate:
    """The fixed interval as far beyond its estimate as the asymptotic sequence reaches at this look."""
    interval = fixed.interval
    method = f"asymptotic confidence sequence ({interval.method})"
    if _too_few(fixed):
        units = interval.n_groups or interval.n
        note = f"{units} {'groups' if interval.n_groups else 'examples'} are too few to look at; {BURN_IN} are needed"
        blank = replace(interval, low=-math.inf, high=math.inf, p=None, method=method, note=note)
        return replace(fixed, interval=blank, p_passes=None, p_fails=None)
    shift = 1.0 if question.relative else 0.0
    middle, low, high = (_scaled(value + shift, question) for value in (interval.estimate, interval.low, interval.high))  # fmt: skip
    z = normal_quantile(1.0 - question.alpha)
    times = asymptotic_multiplier(look.fraction, question.level) / z
    low, high = middle - times * (middle - low), middle + times * (high - middle)
    null = _scaled(question.sign * question.bound + shift, question)
    wide = replace(
        interval,
        low=_unscaled(low, question) - shift,
        high=_unscaled(high, question) - shift,
        method=method,
        p=None,
    )
    below, above = (middle - low) / times / z, (high - middle) / times / z
    greater = _p(middle - null, below, look, question.level)
    less = _p(null - middle, above, look, question.level)
    p_passes, p_fails = (greater, less) if question.sign > 0 else (less, greater)
    return replace(fixed, interval=wide, p_passes=p_passes, p_fails=p_fails)


def _too_few(fixed: Estimate) -> bool:
    return (fixed.interval.n_groups or fixed.interval.n) < BURN_IN


def _scaled(value: float, question: Question) -> float:
    return value if not question.relative else math.log(value) if value > 0.0 else -math.inf


def _unscaled(value: float, question: Question) -> float:
    return value if not question.relative else math.exp(value) if value < 700.0 else math.inf


def _p(distance: float, se: float, look: Look, level: float) -> float:
    if not math.isfinite(se):
        return 1.0
    if se <= 0.0:
        return 0.0 if distance > 0.0 else 1.0
    return asymptotic_p(distance / se, look.fraction, level)


def _chances(question: Question, fixed: Estimate, look: Look, multiple: float) -> tuple[float, float]:
    """The chances that the planned end shows the check passed, and failed, if the truth is at the better (worse) end.

    Conditional power (Lan, Wittes, Biometrics 1988, 44:579-585) at the end of the present interval without looks that is
    kindest to the claim: below 10 % even so, going on is futile.
    """
    middle, low, high = fixed.oriented(question.sign)
    bound, f = question.bound, look.fraction
    z = normal_quantile(1.0 - question.alpha)

    def chance(ahead: float, width: float) -> float:
        se = width / z
        if not math.isfinite(se) or f >= 1.0:
            return 1.0
        if se <= 0.0:
            return float(ahead > 0.0)
        kindest = ahead + (1.0 - f) * width
        end = se * math.sqrt(f)
        return normal_cdf((kindest - multiple * end) / (end * math.sqrt(1.0 - f)))

    return chance(middle - bound, high - middle), chance(bound - middle, middle - low)


@lru_cache(maxsize=4096)
def blank_reach(n: int, level: float) -> float:
    """How far the betting sequence of a difference of shares reaches after `n` examples on which both arms agree."""
    return -betting_interval(np.zeros(n), bounds=(-1.0, 1.0), level=level).low


def end_width(alpha: float) -> float:
    """How many times as wide as without looks the asymptotic interval is at the planned end."""
    return asymptotic_multiplier(1.0, 1.0 - 2.0 * alpha) / normal_quantile(1.0 - alpha)
