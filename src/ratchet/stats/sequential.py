"""Anytime-valid statistics: intervals and e-values that hold however often, and whenever, one looks.

Values must come in the order of arrival, one an example, so that a later look extends an earlier one. Planned looks
with fixed boundaries are in `looks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, as_groups, as_values, check_level
from ratchet.stats._special import beta_cdf, log_beta
from ratchet.stats.intervals import Alternative, Interval
from ratchet.stats.means import group_sums, grouped_mean

BURN_IN = 50


def discordant_e_value(losses: int, gains: int, *, alternative: Alternative = "two-sided") -> float:
    """The e-value against "gains and losses are equally likely" from the discordant pairs so far.

    Reject at e >= 1/alpha (20 for 5 %) at any stop; 1/e is an always-valid p-value. A Beta(1/2, 1/2) mixture:
    B(gains + 1/2, losses + 1/2) / B(1/2, 1/2) * 2^(gains + losses), computed in logs; one-sided, the mixture is cut at
    1/2 and doubled. Infinite only beyond the range of floats. Source: Robbins 1970, Annals of Mathematical Statistics
    41:1397-1409; Krichevsky, Trofimov 1981.

    >>> round(discordant_e_value(2, 16), 2), round(discordant_e_value(0, 0), 2)
    (89.92, 1.0)
    """
    if losses < 0 or gains < 0:
        raise StatisticsError(f"losses is {losses} and gains {gains}; expected counts of at least 0.")
    log_e = log_beta(gains + 0.5, losses + 0.5) - log_beta(0.5, 0.5) + (losses + gains) * math.log(2.0)
    if alternative != "two-sided":
        wins, falls = (gains, losses) if alternative == "greater" else (losses, gains)
        share = 2.0 * beta_cdf(0.5, falls + 0.5, wins + 0.5)
        if share <= 0.0:
            return 0.0
        log_e += math.log(share)
    return math.exp(log_e) if log_e < 700.0 else math.inf


def always_valid_p(e_value: float) -> float:
    """The p-value min(1, 1/e), valid at any stopping time.

    Source: Vovk, Wang, Annals of Statistics 2021, 49:1736-1754.

    >>> always_valid_p(20.0)
    0.05
    """
    return 1.0 if e_value <= 1.0 else 1.0 / e_value


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """The running estimate and limits after each value; all limits hold together with probability >= level."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    method: str


def _predictable(x: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """The bet size before each value, and the running mean before each value (both from the past alone)."""
    n = len(x)
    t = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1.0)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (t + 1.0)
    before = np.concatenate([[0.25], variances[:-1]])
    bets = np.sqrt(2.0 * math.log(2.0 / (1.0 - level)) / (before * t * np.log1p(t)))
    return bets, np.concatenate([[0.5], means[:-1]])


def _to_unit(values: ArrayLike, bounds: tuple[float, float]) -> FloatArray:
    x = as_values(values, "values")
    low, high = bounds
    if not low < high or float(x.min()) < low or float(x.max()) > high:
        raise StatisticsError(
            f"values range from {x.min():g} to {x.max():g}; expected all within the bounds {low:g} to {high:g}."
        )
    return (x - low) / (high - low)


def betting_interval(
    values: ArrayLike, *, bounds: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> Interval:
    """An anytime-valid interval of the mean of values within `bounds`, by betting; exact at every n and every look.

    Give all values so far in order of arrival: the interval is the running intersection over all looks. A paired
    difference of scores in [0, 1] has bounds (-1, 1). Source: Waudby-Smith, Ramdas, JRSS B 2024, 86:1-27 (hedged
    capital with predictable plug-in bets, each cut at half of what keeps capital positive).

    >>> found = betting_interval([0.6, 0.4] * 100)
    >>> found.low < 0.5 < found.high, found.high - found.low < 0.2
    (True, True)
    """
    x = _to_unit(values, bounds)
    bets, _ = _predictable(x, check_level(level))
    goal = math.log(2.0 / (1.0 - level))

    def beaten(mean: float, sign: float) -> bool:
        return _most_won(x, bets, mean, sign) >= goal

    def edge(sign: float) -> float:
        # Capital bet upwards only falls as the tested mean rises, so one bisection finds the edge; the safe side stays.
        inside, outside = (1.0, 0.0) if sign > 0 else (0.0, 1.0)
        for _ in range(40):
            middle = 0.5 * (inside + outside)
            if beaten(middle, sign):
                outside = middle
            else:
                inside = middle
        return outside

    return _bounded_interval(edge(1.0), edge(-1.0), x, bounds, level)


def betting_p(
    values: ArrayLike,
    *,
    null: float,
    alternative: Alternative,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
) -> float:
    """The one-sided p-value of `betting_interval`, valid at any look: at most (1 - level)/2 where a limit passes `null`.

    One over the most capital that was ever won by betting against "the mean is at most `null`" ("greater") or "at
    least" ("less"); the size of the bets follows `level`. Source: `betting_interval`; Ville's inequality.

    >>> round(betting_p([1.0] * 20, null=0.5, alternative="greater"), 4)
    0.0003
    """
    x = _to_unit(values, bounds)
    bets, _ = _predictable(x, check_level(level))
    mean = (null - bounds[0]) / (bounds[1] - bounds[0])
    if alternative == "two-sided":
        raise StatisticsError("alternative is 'two-sided'; expected 'greater' or 'less'.")
    if not 0.0 < mean < 1.0:  # beyond the bounds there is nothing to bet on
        return 0.0 if (mean < 0.0 if alternative == "greater" else mean > 1.0) else 1.0
    return math.exp(-max(0.0, _most_won(x, bets, mean, 1.0 if alternative == "greater" else -1.0)))


def _most_won(x: FloatArray, bets: FloatArray, mean: float, sign: float) -> float:
    """The largest log capital that betting upwards (sign 1) or downwards (-1) ever had against this mean."""
    room = mean if sign > 0 else 1.0 - mean
    capped = bets if room <= 0.0 else np.minimum(bets, 0.5 / room)
    return float(np.cumsum(np.log1p(sign * capped * (x - mean))).max())


def _bounded_interval(
    low: float, high: float, x: FloatArray, bounds: tuple[float, float], level: float
) -> Interval:
    width = bounds[1] - bounds[0]
    crossed = low > high
    if crossed:
        low, high = high, low
    return Interval(
        estimate=bounds[0] + width * float(x.mean()),
        low=bounds[0] + width * low,
        high=bounds[0] + width * high,
        level=level,
        n=len(x),
        method="betting confidence sequence",
        note="The looks exclude each other: the mean has drifted." if crossed else None,
    )


def empirical_bernstein(
    values: ArrayLike, *, bounds: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> ConfidenceSequence:
    """The predictable plug-in empirical-Bernstein confidence sequence of a mean within `bounds`, after each value.

    Looser than betting, but closed-form for all looks at once; the limits are running intersections. Source:
    Waudby-Smith, Ramdas, JRSS B 2024, 86:1-27, theorem 2; Howard et al., Annals of Statistics 2021.

    >>> found = empirical_bernstein([0.6, 0.4] * 100)
    >>> bool(found.low[-1] < 0.5 < found.high[-1])
    True
    """
    x = _to_unit(values, bounds)
    bets, past = _predictable(x, check_level(level))
    bets = np.minimum(bets, 0.5)
    weight = np.cumsum(bets)
    centre = np.cumsum(bets * x) / weight
    cost = np.cumsum((x - past) ** 2 * (-np.log1p(-bets) - bets))
    reach = (math.log(2.0 / (1.0 - level)) + cost) / weight
    width = bounds[1] - bounds[0]
    low = np.maximum.accumulate(np.maximum(centre - reach, 0.0))
    high = np.minimum.accumulate(np.minimum(centre + reach, 1.0))
    return ConfidenceSequence(
        estimate=bounds[0] + width * np.cumsum(x) / np.arange(1, len(x) + 1),
        low=bounds[0] + width * low,
        high=bounds[0] + width * high,
        level=level,
        method="empirical-Bernstein confidence sequence",
    )


def asymptotic_reach(se: FloatArray, t: FloatArray, level: float, planned_n: float) -> FloatArray:
    """The half-width of the asymptotic confidence sequence for standard error `se` after `t` independent units.

    Tightest near `planned_n`. Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Annals of Statistics 2024,
    theorem 2.2 and appendix B.2 for the choice of rho.

    >>> float(asymptotic_reach(np.array([1.0]), np.array([100.0]), 0.95, 100.0).round(2)[0])
    3.04
    """
    alpha = 1.0 - level
    rho2 = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / planned_n
    spread = t * rho2 + 1.0
    return se * np.sqrt(2.0 * spread / (t * rho2) * np.log(np.sqrt(spread) / alpha))


def asymptotic_multiplier(fraction: float, level: float) -> float:
    """How many standard errors the asymptotic confidence sequence reaches after this share of the planned units.

    Source: `asymptotic_reach`.

    >>> round(asymptotic_multiplier(1.0, 0.9), 3), round(asymptotic_multiplier(0.5, 0.9), 3)
    (2.764, 2.817)
    """
    return float(asymptotic_reach(np.ones(1), np.array([fraction]), level, 1.0)[0])


def asymptotic_p(z: float, fraction: float, level: float) -> float:
    """The one-sided p-value, valid at any look, of an estimate `z` standard errors beyond the null.

    The sequence is the one tuned for `level`; p is at most (1 - level)/2 where its limit passes the null. Source:
    `asymptotic_reach` solved for alpha, the size of the mixture held.

    >>> round(asymptotic_p(asymptotic_multiplier(0.5, 0.9), 0.5, 0.9), 6)
    0.05
    """
    if z <= 0.0:
        return 1.0
    alpha = 1.0 - level
    growth = fraction * (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0))
    spread = growth + 1.0
    return min(1.0, 0.5 * math.sqrt(spread) * math.exp(-(z**2) * growth / (2.0 * spread)))


def asymptotic_sequence(
    values: ArrayLike, *, level: float = 0.95, burn_in: int = BURN_IN, planned_n: int | None = None
) -> ConfidenceSequence:
    """The asymptotic confidence sequence of any mean after each value; infinite before the burn-in (at least 50).

    Time-uniform as n grows, for values without bounds; `planned_n` (default: the number given) is where it is
    tightest and must be chosen before the data when looks are taken. Source: `asymptotic_reach`.

    >>> rng = np.random.default_rng(0)
    >>> found = asymptotic_sequence(rng.normal(0, 1, 200))
    >>> bool(np.isinf(found.high[48])), bool(found.low[-1] < 0 < found.high[-1])
    (True, True)
    """
    x = as_values(values, "values")
    _check_burn_in(burn_in)
    t = np.arange(1.0, len(x) + 1.0)
    # Sums around the first value: no cancellation when the spread is small beside the level.
    shifted = x - x[0]
    means = np.cumsum(shifted) / t
    variances = np.maximum(np.cumsum(shifted**2) / t - means**2, 0.0)
    reach = asymptotic_reach(np.sqrt(variances / t), t, check_level(level), float(planned_n or len(x)))
    reach[: burn_in - 1] = np.inf
    estimate = means + x[0]
    return ConfidenceSequence(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        level=level,
        method="asymptotic confidence sequence",
    )


def _check_burn_in(burn_in: int) -> None:
    if burn_in < BURN_IN:
        raise StatisticsError(
            f"burn_in is {burn_in}; expected at least {BURN_IN}, below which the sequence is not valid."
        )


def asymptotic_interval(
    values: ArrayLike,
    *,
    planned_n: int,
    groups: Ids | None = None,
    level: float = 0.95,
    burn_in: int = BURN_IN,
) -> Interval:
    """The asymptotic confidence sequence at this look; `planned_n` and the burn-in count groups where they are given.

    Source: `asymptotic_sequence`; groups enter by the cluster-robust standard error.

    >>> asymptotic_interval([0.0, 1.0] * 20, planned_n=200).high
    inf
    """
    x = as_values(values, "values")
    _check_burn_in(burn_in)
    codes, units = as_groups(groups, len(x))
    clustered = codes is not None
    mean = grouped_mean(*group_sums(x, codes, units), "auto" if clustered else "CR1")
    return _asymptotic(
        mean.estimate, mean.se, units, len(x), check_level(level), planned_n, burn_in, clustered
    )


def _asymptotic(
    estimate: float,
    se: float,
    units: int,
    n: int,
    level: float,
    planned_n: int,
    burn_in: int,
    clustered: bool,
) -> Interval:
    reach = math.inf
    if units >= burn_in:
        reach = float(asymptotic_reach(np.array([se]), np.array([float(units)]), level, float(planned_n))[0])
    return Interval(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        level=level,
        n=n,
        method="asymptotic confidence sequence",
        se=se,
        n_groups=units if clustered else None,
        note=None if units >= burn_in else f"Before the burn-in of {burn_in}: {units} so far.",
    )


def asymptotic_difference(
    before: ArrayLike,
    after: ArrayLike,
    *,
    planned_n: int,
    before_groups: Ids | None = None,
    after_groups: Ids | None = None,
    level: float = 0.95,
    burn_in: int = BURN_IN,
) -> Interval:
    """An anytime-valid interval of mean(after) - mean(before) for independent arms, such as a canary's traffic split.

    Each arm must pass the burn-in; `planned_n` counts both arms together (groups where given, such as users).
    Source: `asymptotic_sequence`, with the standard errors of the arms combined.

    >>> found = asymptotic_difference([0.0, 1.0] * 50, [1.0, 1.0] * 50, planned_n=200)
    >>> found.estimate, found.low > 0
    (0.5, True)
    """
    arms = [
        asymptotic_interval(values, planned_n=planned_n, groups=groups, level=level, burn_in=burn_in)
        for values, groups in ((before, before_groups), (after, after_groups))
    ]
    units = [arm.n_groups or arm.n for arm in arms]
    se = math.hypot(arms[0].se or 0.0, arms[1].se or 0.0)
    ready = min(units) >= burn_in
    n = arms[0].n + arms[1].n
    return _asymptotic(
        arms[1].estimate - arms[0].estimate,
        se,
        sum(units) if ready else min(units),
        n,
        level,
        planned_n,
        burn_in,
        sum(units) < n,
    )


def anytime_interval(
    values: ArrayLike,
    *,
    planned_n: int,
    bounds: tuple[float, float] | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
) -> Interval:
    """The anytime-valid interval of a mean (of paired differences) that suits the data, at this look.

    Betting where `bounds` are known and no group repeats, else the asymptotic sequence (infinite before 50 units). One
    value an example, in order of arrival.

    >>> anytime_interval([0.0, 1.0, 0.0, -1.0] * 20, planned_n=200, bounds=(-1.0, 1.0)).method
    'betting confidence sequence'
    """
    if bounds is not None and (groups is None or len(set(groups)) == len(groups)):
        return betting_interval(values, bounds=bounds, level=level)
    return asymptotic_interval(values, planned_n=planned_n, groups=groups, level=level)


def first_exclusion(
    values: ArrayLike, looks: ArrayLike, interval: Callable[[FloatArray], Interval], *, null: float = 0.0
) -> int | None:
    """The first look (a count of values) whose interval excludes `null`, or None; for checks of false alarms.

    >>> rule = lambda seen: betting_interval(seen, bounds=(-1.0, 1.0))
    >>> first_exclusion([1.0] * 40, [5, 10, 20, 40], rule)
    10
    """
    x = as_values(values, "values")
    for look in np.asarray(looks, dtype=np.int64).tolist():
        if interval(x[:look]).excludes(null):
            return int(look)
    return None
