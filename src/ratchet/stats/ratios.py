"""Relative change of cost, tokens or time: the ratio of means and the mean log-ratio, paired and by group."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import Examples, FloatArray, Ids, as_examples, as_values, check_level
from ratchet.stats.bootstrap import totals_interval
from ratchet.stats.intervals import Alternative, Interval
from ratchet.stats.means import FEW_GROUPS, SMALL_N, group_sums, grouped_mean, t_limits, t_p


def ratio_of_means(
    before: ArrayLike,
    after: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
    null: float = 1.0,
    alternative: Alternative = "two-sided",
) -> Interval:
    """mean(after) / mean(before) over the same examples: what the bill changes by. Both means must be positive.

    The jackknife leaves out one example (or group) at a time on the log scale, so that swapping the arms inverts the
    limits, and takes Student's t with Kish's effective number of examples less 1: where few large items carry the
    total, the plain delta method is too sure (coverage of 95 % at n = 20 and log-SD 1.5: .83, here .95). `p` is of ratio = `null`; `se` is of the log ratio. `too_small` also where fewer than 10 examples
    of equal weight would carry the total. Source: Efron, Stein, Annals of Statistics 1981, 9:586-596; Kish, Survey
    Sampling 1965, section 11.7; Miller, Biometrika 1974, 61:1-15.

    >>> found = ratio_of_means([1.0, 2.0, 3.0, 4.0] * 10, [0.5, 1.1, 1.4, 2.1] * 10)
    >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
    (0.51, 0.499, 0.521)
    """
    first, second = as_values(before, "before"), as_values(after, "after")
    check_level(level)
    if null <= 0.0:
        raise StatisticsError(f"The null ratio is {null:g}; expected a number above 0.")
    data = _positive(as_examples((first, second), examples, groups))
    return _jackknife(data, len(first), level, null, alternative)


def ratio_bootstrap(
    before: ArrayLike,
    after: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Interval:
    """mean(after) / mean(before) with a percentile bootstrap of examples or groups, the cross-check of the jackknife.

    Source: `totals_interval`.

    >>> found = ratio_bootstrap([1.0, 2.0, 3.0, 4.0] * 10, [0.5, 1.1, 1.4, 2.1] * 10)
    >>> round(found.estimate, 3), found.low < 0.51 < found.high
    (0.51, True)
    """
    first, second = as_values(before, "before"), as_values(after, "after")
    data = _positive(as_examples((first, second), examples, groups))

    def ratio(sums: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, 1] / sums[:, 0]

    found = totals_interval(
        np.column_stack(data.columns), ratio, groups=data.groups, level=level, draws=draws, seed=seed
    )
    return replace(found, null=1.0, n_rows=len(first), method="ratio of means, bootstrap of groups")


def _positive(data: Examples) -> Examples:
    """`data` itself when both arms have a mean above 0."""
    means = float(data.columns[0].mean()), float(data.columns[1].mean())
    if min(means) <= 0.0:
        raise StatisticsError(
            f"The means are {means[0]:.6g} and {means[1]:.6g}; a ratio needs all above 0. Compare by difference instead."
        )
    return data


def mean_log_ratio(
    before: ArrayLike,
    after: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
    null: float = 1.0,
    alternative: Alternative = "two-sided",
) -> Interval:
    """The geometric mean of after/before per example: the typical relative change. All values must be positive.

    Less moved by a few large items than `ratio_of_means`, and a different question: the typical item, not the total.
    Limits are for the ratio; `se` is of its log. Source: Student's t on log(after) - log(before), Bland, Altman, BMJ
    1996, 312:1153.

    >>> round(mean_log_ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]).estimate, 3)
    2.0
    """
    first, second = as_values(before, "before"), as_values(after, "after")
    check_level(level)
    smallest = min(float(first.min()), float(second.min()))
    if smallest <= 0.0 or null <= 0.0:
        raise StatisticsError(
            f"The smallest value is {smallest:g}, the null ratio {null:g}; a log-ratio needs all above 0. "
            "Use ratio_of_means, or compare by difference."
        )
    data = as_examples((np.log(first), np.log(second)), examples, groups)
    difference = data.columns[1] - data.columns[0]
    clustered = data.groups is not None
    mean = grouped_mean(*group_sums(difference, data.groups, data.n_groups), "auto" if clustered else "CR1")
    found = _from_log(mean.estimate, mean.se, mean.df, data, len(first), level, null, alternative)
    name = f"cluster-robust t ({mean.correction})" if clustered else "paired t"
    return replace(
        found,
        method=f"geometric mean ratio, {name} on the log scale",
        p_method=name,
        too_small=found.too_small or mean.too_few,
    )


def _jackknife(data: Examples, n_rows: int, level: float, null: float, alternative: Alternative) -> Interval:
    before, _ = group_sums(data.columns[0], data.groups, data.n_groups)
    after, _ = group_sums(data.columns[1], data.groups, data.n_groups)
    units, totals = len(before), (float(before.sum()), float(after.sum()))
    weights = 0.5 * (before / totals[0] + after / totals[1])
    effective = 1.0 / float((weights**2).sum())
    rest = totals[0] - before, totals[1] - after
    se, df = math.inf, 1.0
    if units > 1 and min(float(rest[0].min()), float(rest[1].min())) > 0.0:
        left_out = np.log(rest[1] / rest[0])
        se = math.sqrt((units - 1.0) / units * float(((left_out - left_out.mean()) ** 2).sum()))
        se, df = (se if se > 1e-13 else 0.0), max(effective - 1.0, 1.0)
    name = "groups" if data.groups is not None else "examples"
    found = _from_log(math.log(totals[1] / totals[0]), se, df, data, n_rows, level, null, alternative)
    found = replace(found, method=f"ratio of means, jackknife of {name}", p_method="jackknife t")
    if effective >= FEW_GROUPS:
        return found
    note = f"Few {name} carry the total: they count as {effective:.1f} of equal weight."
    return replace(found, too_small=True, note=note)


def _from_log(
    log_ratio: float,
    se: float,
    df: float,
    data: Examples,
    n_rows: int,
    level: float,
    null: float,
    alternative: Alternative,
) -> Interval:
    low, high = t_limits(log_ratio, se, df, level)
    with np.errstate(over="ignore"):
        limits = float(np.exp(low)), float(np.exp(high))
    return Interval(
        estimate=math.exp(log_ratio),
        low=limits[0],
        high=limits[1],
        level=level,
        n=data.n,
        method="t",
        p=t_p(log_ratio, se, df, math.log(null), alternative) if math.isfinite(se) else 1.0,
        null=null,
        alternative=alternative,
        se=se,
        df=df,
        n_rows=n_rows,
        n_groups=data.n_groups if data.groups is not None else None,
        too_small=data.n < SMALL_N or data.n_groups < FEW_GROUPS,
        note="All ratios are equal; the data show no variation." if se == 0.0 else None,
    )
