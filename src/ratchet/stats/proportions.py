"""One proportion: Wilson, Clopper-Pearson, one-sided bounds, and a rate over groups."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import Ids, as_codes, as_values, check_counts, check_level
from ratchet.stats._special import beta_quantile, normal_quantile, t_quantile
from ratchet.stats.intervals import Interval
from ratchet.stats.means import SMALL_N, group_sums, grouped_mean

EXACT_BELOW = 10
PSEUDO_BELOW = 300


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Source: Wilson, JASA 1927, 22:209-212.

    >>> found = wilson_interval(81, 263)
    >>> round(found.low, 4), round(found.high, 4)
    (0.2553, 0.3662)
    """
    check_counts(successes, n)
    z = normal_quantile(0.5 + check_level(level) / 2.0)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(
        estimate=share,
        low=0.0 if successes == 0 else max(0.0, centre - reach),
        high=1.0 if successes == n else min(1.0, centre + reach),
        level=level,
        n=n,
        method="Wilson score interval",
        too_small=n < SMALL_N,
    )


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """The exact (Clopper-Pearson) interval of a proportion, never below its level.

    Source: Clopper, Pearson, Biometrika 1934, 26:404-413.

    >>> found = clopper_pearson(81, 263)
    >>> round(found.low, 4), round(found.high, 4)
    (0.2527, 0.3676)
    """
    check_counts(successes, n)
    low, high = _beta_limits(successes, n, check_level(level))
    return Interval(
        estimate=successes / n,
        low=low,
        high=high,
        level=level,
        n=n,
        method="Clopper-Pearson",
        too_small=n < SMALL_N,
    )


def _beta_limits(successes: float, n: float, level: float) -> tuple[float, float]:
    tail = 0.5 - level / 2.0
    low = 0.0 if successes <= 0 else beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes >= n else beta_quantile(1.0 - tail, successes + 1, n - successes)
    return low, high


def exact_bound(
    successes: int, n: int, *, side: Literal["upper", "lower"] = "upper", level: float = 0.95
) -> float:
    """The exact one-sided bound of a proportion at confidence `level`.

    0 failures in n give the upper bound 1 - (1 - level)^(1/n): "0 of 100" is not 0. Source: Clopper, Pearson 1934;
    Hanley, Lippman-Hand, JAMA 1983, 249:1743-1745.

    >>> round(exact_bound(0, 100), 4)
    0.0295
    """
    check_counts(successes, n)
    low, high = _beta_limits(successes, n, 2.0 * check_level(level) - 1.0)
    return high if side == "upper" else low


def rate_interval(
    values: ArrayLike, *, groups: Ids | None = None, level: float = 0.95, exact: bool = False
) -> Interval:
    """The rate of 0/1 `values`: exact with fewer than 10 on either side, Wilson beyond; over groups, Korn-Graubard.

    With `exact` never Wilson, whose two ends hold together but not each: one errs in up to 8 % instead of 5 % at a
    hundred values, so a limit is held against the exact interval. Over groups the exact interval is taken at the effective sample size p(1-p)/SE^2 (cluster-robust, at most n, scaled
    by the t quantiles); when all values agree, groups are counted instead of rows. Source: Korn, Graubard, Survey
    Methodology 1998, 24:193-201.

    >>> rate_interval([0] * 100).method, round(rate_interval([0] * 100, level=0.9).high, 4)
    ('Clopper-Pearson', 0.0295)
    """
    x = as_values(values, "values")
    if not ((x == 0.0) | (x == 1.0)).all():
        raise StatisticsError(f"values range from {x.min()} to {x.max()}; expected only 0 and 1 for a rate.")
    n, successes = len(x), int(x.sum())
    if groups is not None:
        codes, keys = as_codes(groups, n, "groups")
        if len(keys) < n:
            return _grouped_rate(*group_sums(x, codes, len(keys)), n, check_level(level))
    if exact or min(successes, n - successes) < EXACT_BELOW:
        return clopper_pearson(successes, n, level=level)
    return wilson_interval(successes, n, level=level)


def repeated_rate(values: ArrayLike, examples: Ids, *, level: float = 0.95) -> Interval:
    """The rate of 0/1 `values` of which several belong to one example: Korn-Graubard, an example a group.

    Below 300 examples the effective sample size rests on a variance with two pseudo-examples, all of 0 and all of 1: where
    nearly all examples agree, the variance of the sample is an accident of the few that do not. Source:
    `rate_interval`; Bonett, Price, JEBS 2012, 37:479-488, for the pseudo-examples.

    >>> found = repeated_rate([1.0, 1.0, 1.0, 0.0] * 30, np.arange(60).repeat(2))
    >>> found.estimate, found.low < 0.7
    (0.75, True)
    """
    x = as_values(values, "values")
    codes, keys = as_codes(examples, len(x), "examples")
    sums, sizes = group_sums(x, codes, len(keys))
    return _grouped_rate(sums, sizes, len(x), check_level(level), pseudo=len(keys) < PSEUDO_BELOW)


def _grouped_rate(
    sums: np.ndarray, sizes: np.ndarray, n: int, level: float, *, pseudo: bool = False
) -> Interval:
    mean = grouped_mean(sums, sizes)
    share, groups = mean.estimate, len(sizes)
    if pseudo and groups > 1:
        size = float(sizes.mean())
        mean = grouped_mean(np.append(sums, [0.0, size]), np.append(sizes, [size, size]))
    if groups < 2:
        low, high = 0.0, 1.0
    else:
        effective = float(groups) if mean.se == 0.0 else min(float(n), share * (1 - share) / mean.se**2)
        if mean.se > 0.0 and n > 1:
            tail = 0.5 + level / 2.0
            effective = min(float(n), effective * (t_quantile(tail, n - 1) / t_quantile(tail, mean.df)) ** 2)
        low, high = _beta_limits(share * effective, effective, level)
    return Interval(
        estimate=share,
        low=low,
        high=high,
        level=level,
        n=n,
        method=f"Korn-Graubard exact, {mean.correction}{', two pseudo-units' if pseudo else ''}"
        if groups > 1
        else "Korn-Graubard exact",
        se=mean.se,
        df=mean.df,
        n_groups=groups,
        too_small=n < SMALL_N or mean.too_few,
        note="All rows lie in one group; nothing can be said about another group." if groups < 2 else None,
    )
