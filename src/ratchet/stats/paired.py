"""The paired difference of two arms on the same examples: the method follows from the data, and is named."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ratchet.stats._arrays import Examples, FloatArray, Ids, as_examples, as_values, check_level
from ratchet.stats.binary import mcnemar_midp, tango_interval, tango_limits, tango_p
from ratchet.stats.intervals import Alternative, Interval
from ratchet.stats.means import (
    SMALL_N,
    Correction,
    group_sums,
    grouped_mean,
    is_skewed,
    sign_flip_p,
    skewness,
    t_limits,
    t_p,
)
from ratchet.stats.proportions import rate_interval, repeated_rate

PERMUTATION_N = 100
ADJUSTED_UNITS = 300


def is_binary(values: FloatArray) -> bool:
    """Whether every value is 0 or 1.

    >>> is_binary(np.array([0.0, 1.0])), is_binary(np.array([0.5]))
    (True, False)
    """
    return bool(((values == 0.0) | (values == 1.0)).all())


def paired_difference(
    before: ArrayLike,
    after: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
    seed: int = 0,
) -> Interval:
    """The mean difference `after - before` per example, by the method that suits the data.

    A row is one (example, repeat) of both arms, in the same order; rows of one example are averaged first, and
    `groups` (documents, users, tasks) are clusters. Without groups, 0/1 outcomes get Tango's interval, with repeats at
    their effective number; all else gets Student's t, cluster-robust where groups repeat (CR2 below 30 effective
    groups, else CR1). Below 300 units, differences that are mostly ties get two pseudo-units of plus and minus the
    largest difference (after Bonett, Price, JEBS 2012, 37:479-488), since plain t is too sure there.

    `p` tests difference = `null`. Against 0 it is McNemar's mid-p for 0/1 outcomes without repeats, and for others than
    0/1 outcomes the sign-flip permutation below 100 examples; against any other null it belongs to the interval. `too_small` is set below 20 examples or
    10 groups, or where one or two groups outweigh all others. Raises PairingError when rows do not fit, StatisticsError on values that are not finite.

    >>> found = paired_difference([1, 0, 1, 1, 0] * 20, [1, 1, 1, 1, 0] * 20)
    >>> found.method, round(found.estimate, 2), round(found.low, 3), round(found.high, 3)
    ('Tango score interval', 0.2, 0.133, 0.289)
    """
    first, second = as_values(before, "before"), as_values(after, "after")
    check_level(level)
    reduced = as_examples((first, second), examples, groups)
    one_zero = is_binary(first) and is_binary(second)
    if one_zero and reduced.groups is None:
        if int(reduced.repeats.max()) == 1:
            return _binary(reduced, level, null, alternative)
        return _repeated_binary(reduced, len(first), level, null, alternative)
    return _continuous(reduced, one_zero, len(first), level, null, alternative, seed)


def _binary(data: Examples, level: float, null: float, alternative: Alternative) -> Interval:
    before, after = data.columns
    gains, losses = int((after > before).sum()), int((after < before).sum())
    found = tango_interval(losses, gains, data.n, level=level)
    at_zero = null == 0.0
    return Interval(
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        level=level,
        n=data.n,
        method=found.method,
        p=mcnemar_midp(losses, gains, alternative=alternative)
        if at_zero
        else tango_p(losses, gains, data.n, null=null, alternative=alternative),
        p_method="McNemar mid-p" if at_zero else "Tango score test",
        null=null,
        alternative=alternative,
        n_rows=data.n,
        too_small=data.n < SMALL_N,
    )


def _repeated_binary(
    data: Examples, n_rows: int, level: float, null: float, alternative: Alternative
) -> Interval:
    """Tango's interval for 0/1 outcomes with repeats, at the number of single answers that carry as much.

    An example's repeats leave a gain or loss between 0 and 1. The sums of gains and losses over examples are the counts,
    and counts and examples are divided by the design effect, the sum of squares over the sum of sizes of the
    differences: 1 where repeats always agree. Two discordant examples are added to both sums, since a few of them say
    little about how repeats agree. Source: the effective sample size of Korn, Graubard, Survey Methodology 1998,
    24:193-201, put into Tango 1998.
    """
    change = data.columns[1] - data.columns[0]
    gains, losses = float(change[change > 0].sum()), float(-change[change < 0].sum())
    effect = (float((change**2).sum()) + 2.0) / (gains + losses + 2.0)
    counts = losses / effect, gains / effect, data.n / effect
    low, high = tango_limits(*counts, level=level)
    return Interval(
        estimate=float(change.mean()),
        low=low,
        high=high,
        level=level,
        n=data.n,
        method="Tango score interval, effective n",
        p=tango_p(*counts, null=null, alternative=alternative),
        p_method="Tango score test",
        null=null,
        alternative=alternative,
        n_rows=n_rows,
        too_small=data.n < SMALL_N,
    )


def _with_pseudo_units(sums: FloatArray, sizes: FloatArray, one_zero: bool) -> tuple[FloatArray, FloatArray]:
    size = float(sizes.mean())
    largest = float(np.abs(sums).max())
    if largest == 0.0 and one_zero:
        largest = size
    return np.append(sums, [largest, -largest]), np.append(sizes, [size, size])


def _continuous(
    data: Examples,
    one_zero: bool,
    n_rows: int,
    level: float,
    null: float,
    alternative: Alternative,
    seed: int,
) -> Interval:
    difference = data.columns[1] - data.columns[0]
    clustered = data.groups is not None
    sums, sizes = group_sums(difference, data.groups, data.n_groups)
    # Means of thirds are not exact: a tie is a sum within rounding of 0, on the scale of the values.
    scale = max(float(np.abs(column).max()) for column in data.columns)
    tied = int((np.abs(sums) <= 1e-12 * scale * sizes).sum())
    mostly_tied = 2 * tied >= len(sums)
    varies = one_zero or bool((sums != sums[0]).any())
    adjusted = 1 < len(sums) < ADJUSTED_UNITS and varies and mostly_tied
    correction: Correction = "auto" if clustered else "CR1"
    plain = grouped_mean(sums, sizes, correction)
    units = _with_pseudo_units(sums, sizes, one_zero) if adjusted else (sums, sizes)
    used = grouped_mean(*units, correction) if adjusted else plain
    low, high = t_limits(used.estimate, used.se, used.df, level)
    if null == 0.0 and data.n < PERMUTATION_N:
        p_method = "sign-flip permutation"
        unit_groups = data.groups if clustered else None
        p = sign_flip_p(difference, groups=unit_groups, alternative=alternative, seed=seed)
    else:
        p_method = "cluster-robust t" if clustered else "paired t"
        p = t_p(used.estimate, used.se, used.df, null, alternative) if math.isfinite(used.se) else 1.0
    name = f"cluster-robust t ({plain.correction})" if clustered else "paired t"
    return Interval(
        estimate=plain.estimate,
        low=low,
        high=high,
        level=level,
        n=data.n,
        method=f"{name}, two pseudo-units" if adjusted else name,
        p=p,
        p_method=p_method,
        null=null,
        alternative=alternative,
        se=used.se,
        df=used.df,
        n_rows=n_rows,
        n_groups=data.n_groups if clustered else None,
        too_small=data.n < SMALL_N or plain.too_few,
        skewed=not adjusted and not one_zero and is_skewed(sums),
        skewness=skewness(units[0] - units[1] * used.estimate),
        note=_note(plain.se, data, plain.effective_groups),
    )


def _note(se: float, data: Examples, effective: float) -> str | None:
    if data.groups is not None and data.n_groups < 2:
        return "All examples lie in one group; nothing can be said about another group."
    if se == 0.0:
        return "All differences are equal; the data show no variation."
    if data.groups is not None and effective < 0.5 * data.n_groups:
        return f"Few groups dominate: the {data.n_groups} groups count as {effective:.0f} of equal size."
    return None


def _repeated_rate(
    x: FloatArray, examples: Ids | None, groups: Ids | None, data: Examples, level: float
) -> Interval:
    """The rate of repeated 0/1 outcomes, exact at the effective number of rows: an example is a cluster of its repeats."""
    if data.groups is not None:
        found = rate_interval(x, groups=groups, level=level, exact=True)
    else:
        found = repeated_rate(x, np.arange(len(x)) if examples is None else examples, level=level)
    return replace(
        found,
        estimate=float(data.columns[0].mean()),
        n=data.n,
        n_rows=len(x),
        n_groups=data.n_groups if data.groups is not None else None,
        too_small=data.n < SMALL_N or (data.groups is not None and found.too_small),
    )


def mean_interval(
    values: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.95,
    exact: bool = False,
) -> Interval:
    """One arm's mean: repeats averaged within the example, groups as clusters, 0/1 outcomes by an exact or score method.

    `exact` is for limits, where each end must hold its level: `rate_interval`. Source: `rate_interval` for 0/1 values without repeats, else `grouped_mean`.

    >>> mean_interval([0.0] * 100).high < 0.04
    True
    >>> mean_interval([1.5, 2.5, 2.0] * 10).method
    't'
    """
    x = as_values(values, "values")
    check_level(level)
    data = as_examples((x,), examples, groups)
    if is_binary(x) and int(data.repeats.max()) == 1:
        return rate_interval(x, groups=data.groups, level=level, exact=exact)
    if is_binary(x) and exact:
        return _repeated_rate(x, examples, groups, data, level)
    sums, sizes = group_sums(data.columns[0], data.groups, data.n_groups)
    clustered = data.groups is not None
    mean = grouped_mean(sums, sizes, "auto" if clustered else "CR1")
    low, high = t_limits(mean.estimate, mean.se, mean.df, level)
    if is_binary(x):
        low, high = max(low, 0.0), min(high, 1.0)
        if mean.se == 0.0:
            # Repeats of one example are no new examples: the exact bound counts each example (or group) once.
            bound = rate_interval(np.full(data.n_groups, mean.estimate), level=level)
            low, high = bound.low, bound.high
    return Interval(
        estimate=mean.estimate,
        low=low,
        high=high,
        level=level,
        n=data.n,
        method=f"cluster-robust t ({mean.correction})" if clustered else "t",
        se=mean.se,
        df=mean.df,
        n_rows=len(x),
        n_groups=data.n_groups if clustered else None,
        too_small=data.n < SMALL_N or mean.too_few,
        skewed=not is_binary(x) and is_skewed(sums),
        skewness=0.0 if is_binary(x) else skewness(sums - sizes * mean.estimate),
    )
