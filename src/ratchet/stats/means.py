"""Intervals and tests for one mean: Student's t, clusters, wild bootstrap, sign flips, BCa.

A paired comparison is one mean too, that of the differences; `paired` chooses among these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import (
    FloatArray,
    Ids,
    IntArray,
    as_codes,
    as_groups,
    as_values,
    check_level,
    sums_by,
)
from ratchet.stats._special import normal_cdf, normal_quantile, t_cdf, t_quantile
from ratchet.stats.intervals import Alternative, Interval

Correction = Literal["auto", "CR1", "CR2"]
SMALL_N = 20
FEW_GROUPS = 10
CR1_GROUPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its standard error, degrees of freedom, and the effective number of groups behind them."""

    estimate: float
    se: float
    df: float
    groups: int
    effective_groups: float
    correction: str

    @property
    def too_few(self) -> bool:
        """Fewer than 10 groups, or one or two that outweigh all others: beyond rescue by any formula."""
        return self.groups < FEW_GROUPS or self.effective_groups < FEW_GROUPS / 2


def effective_groups(sizes: FloatArray) -> float:
    """How many equal groups would give the same precision of the variance: Bell and McCaffrey's degrees of freedom + 1.

    Equal sizes give the number of groups; one dominant group gives far fewer. Source: Bell, McCaffrey, Survey
    Methodology 2002, 28:169-181, for an intercept with independent errors as the working model.

    >>> round(effective_groups(np.array([5.0, 5.0, 5.0, 5.0])), 6)
    4.0
    """
    n = float(sizes.sum())
    if len(sizes) < 2:
        return float(len(sizes))
    leverage = sizes**2 / (1.0 - sizes / n)
    spread = float((sizes**2).sum() + (leverage.sum() ** 2 - (leverage**2).sum()) / n**2)
    return n**2 / spread + 1.0


def grouped_mean(sums: FloatArray, sizes: FloatArray, correction: Correction = "auto") -> Mean:
    """The mean of all rows from each group's sum and size, with the cluster-robust standard error.

    CR1: SE^2 = G/(G-1) sum_g r_g^2 / n^2 with t(G-1), where r_g is the group's sum of residuals (Liang, Zeger 1986;
    Miller 2024, arXiv 2411.00640). CR2: r_g^2 / (1 - size/n) in place of the factor, with Bell and McCaffrey's
    degrees of freedom. "auto" is CR2 below 30 effective groups. Groups of one row give Student's t.

    >>> round(grouped_mean(np.array([1.0, 2.0, 4.0]), np.ones(3)).se, 4)
    0.8819
    """
    groups, n = len(sizes), float(sizes.sum())
    estimate = float(sums.sum()) / n
    effective = effective_groups(sizes)
    if groups < 2:
        return Mean(
            estimate=estimate,
            se=math.inf,
            df=1.0,
            groups=groups,
            effective_groups=effective,
            correction="none",
        )
    residuals = sums - sizes * estimate
    chosen = ("CR2" if effective < CR1_GROUPS - 1e-9 else "CR1") if correction == "auto" else correction
    if chosen == "CR1":
        variance, df = groups / (groups - 1.0) * float((residuals**2).sum()) / n**2, groups - 1.0
    else:
        variance, df = float((residuals**2 / (1.0 - sizes / n)).sum()) / n**2, effective - 1.0
    # Constant values leave rounding dust, which would make a p-value out of nothing.
    dust = 1e-14 * max(abs(estimate), float(np.abs(sums / sizes).max()))
    se = math.sqrt(variance)
    return Mean(
        estimate=estimate,
        se=se if se > dust else 0.0,
        df=df,
        groups=groups,
        effective_groups=effective,
        correction=chosen,
    )


def is_skewed(values: FloatArray) -> bool:
    """Whether n is below 25 times the squared skewness, where Student's t can miss its level.

    Source: Cochran, Sampling Techniques 1977, section 2.15.

    >>> is_skewed(np.arange(50.0)), is_skewed(np.exp(np.linspace(-3.0, 3.0, 50)))
    (False, True)
    """
    return len(values) < 25.0 * skewness(values) ** 2


def skewness(values: FloatArray) -> float:
    """The third central moment in units of the standard deviation; 0 where all values are equal.

    >>> skewness(np.array([0.0, 0.0, 0.0, 1.0])).__round__(3)
    1.155
    """
    centred = values - values.mean()
    spread = float((centred**2).mean())
    return float((centred**3).mean()) / spread**1.5 if spread > 0.0 else 0.0


def t_p(estimate: float, se: float, df: float, null: float, alternative: Alternative) -> float:
    """The p-value of a t statistic against `null`; a zero standard error gives 0 or 1.

    >>> round(t_p(0.5, 0.25, 30, 0.0, "two-sided"), 4)
    0.0546
    """
    if se == 0.0:
        t = 0.0 if estimate == null else math.copysign(math.inf, estimate - null)
    else:
        t = (estimate - null) / se
    if alternative == "greater":
        return t_cdf(-t, df) if math.isfinite(t) else float(t < 0)
    if alternative == "less":
        return t_cdf(t, df) if math.isfinite(t) else float(t > 0)
    return min(1.0, 2.0 * t_cdf(-abs(t), df)) if math.isfinite(t) else 0.0


def t_limits(estimate: float, se: float, df: float, level: float) -> tuple[float, float]:
    """The two-sided limits estimate -+ t * se; infinite when the standard error is.

    >>> low, high = t_limits(0.0, 1.0, 10, 0.95)
    >>> round(high, 3)
    2.228
    """
    reach = math.inf if math.isinf(se) else t_quantile(0.5 + level / 2.0, df) * se
    return estimate - reach, estimate + reach


def group_sums(values: FloatArray, codes: IntArray | None, n_groups: int) -> tuple[FloatArray, FloatArray]:
    """The sum and the size of each group; without codes every value is its own group.

    >>> [part.tolist() for part in group_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 1]), 2)]
    [[1.0, 6.0], [1.0, 2.0]]
    """
    if codes is None:
        return values, np.ones(len(values))
    return sums_by(codes, values, n_groups), np.bincount(codes, minlength=n_groups).astype(np.float64)


def t_interval(
    values: ArrayLike,
    *,
    groups: Ids | None = None,
    level: float = 0.95,
    correction: Correction = "auto",
    null: float = 0.0,
    alternative: Alternative = "two-sided",
) -> Interval:
    """The mean of `values` with Student's t, or with the cluster-robust t when `groups` repeat.

    Source: see `grouped_mean`. One group alone gives an infinite interval.

    >>> found = t_interval([0.1, 0.3, 0.2, 0.4])
    >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
    (0.25, 0.045, 0.455)
    """
    x = as_values(values, "values")
    check_level(level)
    codes, n_groups = as_groups(groups, len(x))
    clustered = codes is not None
    mean = grouped_mean(*group_sums(x, codes, n_groups), correction if clustered else "CR1")
    low, high = t_limits(mean.estimate, mean.se, mean.df, level)
    return Interval(
        estimate=mean.estimate,
        low=low,
        high=high,
        level=level,
        n=len(x),
        method=f"cluster-robust t ({mean.correction})" if clustered else "t",
        p=t_p(mean.estimate, mean.se, mean.df, null, alternative) if math.isfinite(mean.se) else 1.0,
        p_method="cluster-robust t" if clustered else "t",
        null=null,
        alternative=alternative,
        se=mean.se,
        df=mean.df,
        n_groups=n_groups if clustered else None,
        too_small=len(x) < SMALL_N or mean.too_few,
        skewed=is_skewed(group_sums(x, codes, n_groups)[0]),
        note="All values are equal; the data show no variation." if mean.se == 0.0 else None,
    )


# Webb's six points: with two-point weights, few groups give too few distinct draws.
_WEBB = np.sqrt([1.5, 1.0, 0.5])


def wild_cluster_interval(
    values: ArrayLike, groups: Ids, *, level: float = 0.95, draws: int = 1999, seed: int = 0
) -> Interval:
    """The mean with a symmetric wild cluster bootstrap-t interval, for fewer than about 30 groups.

    Source: Cameron, Gelbach, Miller, Review of Economics and Statistics 2008, 90:414-427, unrestricted residuals with
    the six-point weights of Webb 2014.

    >>> rng = np.random.default_rng(0)
    >>> found = wild_cluster_interval(rng.normal(1, 1, 60), np.repeat(np.arange(15), 4))
    >>> found.n_groups, found.low < 1 < found.high
    (15, True)
    """
    x = as_values(values, "values")
    check_level(level)
    codes, keys = as_codes(groups, len(x), "groups")
    sums, sizes = group_sums(x, codes, len(keys))
    mean = grouped_mean(sums, sizes, "CR1")
    if len(keys) < 2 or mean.se == 0.0:
        raise StatisticsError(
            f"The values form {len(keys)} groups with standard error {mean.se}; nothing to resample."
        )
    weights = np.random.default_rng(seed).choice(np.concatenate([-_WEBB, _WEBB]), size=(draws, len(keys)))
    n = float(len(x))
    residuals = weights * (sums - sizes * mean.estimate)
    shifts = residuals.sum(axis=1) / n
    spread = ((residuals - shifts[:, None] * sizes) ** 2).sum(axis=1)
    ratios = np.abs(shifts) / np.sqrt(spread * len(keys) / (len(keys) - 1.0) / n**2)
    reach = float(np.quantile(ratios, level, method="higher")) * mean.se
    return Interval(
        estimate=mean.estimate,
        low=mean.estimate - reach,
        high=mean.estimate + reach,
        level=level,
        n=len(x),
        method="wild cluster bootstrap-t",
        p=float((1 + (ratios >= abs(mean.estimate) / mean.se).sum()) / (draws + 1)),
        p_method="wild cluster bootstrap-t",
        se=mean.se,
        n_groups=len(keys),
        draws=draws,
        too_small=len(x) < SMALL_N or mean.too_few,
    )


_CACHED_UNITS = 128
_EXACT_UNITS = 13


@lru_cache(maxsize=4)
def _cached_signs(units: int, draws: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(draws, units))


def _flipped_sums(units: FloatArray, draws: int, seed: int) -> tuple[FloatArray, bool]:
    if len(units) <= _EXACT_UNITS:
        bits = (np.arange(2 ** len(units))[:, None] >> np.arange(len(units))) & 1
        return (2.0 * bits - 1.0) @ units, True
    if len(units) <= _CACHED_UNITS:
        return _cached_signs(len(units), draws, seed) @ units, False
    rng, step = np.random.default_rng(seed), max(1, 4_000_000 // len(units))
    parts = [
        rng.choice(np.array([-1.0, 1.0]), size=(min(step, draws - start), len(units))) @ units
        for start in range(0, draws, step)
    ]
    return np.concatenate(parts), False


def sign_flip_p(
    values: ArrayLike,
    *,
    groups: Ids | None = None,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
    draws: int = 9999,
    seed: int = 0,
) -> float:
    """The p-value of "symmetric about `null`" by flipping signs, whole groups at once; exact up to 13 non-zero units.

    Monte Carlo p-values count the observed arrangement too, so they are never 0. Source: Fisher 1935, section 21;
    Phipson, Smyth 2010 for the added one.

    >>> sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0])
    0.0625
    """
    x = as_values(values, "values") - null
    if groups is not None:
        codes, keys = as_codes(groups, len(x), "groups")
        x = sums_by(codes, x, len(keys))
    units = np.sort(np.abs(x[x != 0.0]))
    if units.size == 0:
        return 1.0
    observed = float(x.sum())
    flipped, exact = _flipped_sums(units, draws, seed)
    slack = 1e-10 * float(units.sum())
    if alternative == "two-sided":
        extreme = int((np.abs(flipped) >= abs(observed) - slack).sum())
    else:
        side = 1.0 if alternative == "greater" else -1.0
        extreme = int((side * flipped >= side * observed - slack).sum())
    return extreme / len(flipped) if exact else (extreme + 1) / (len(flipped) + 1)


def bca_interval(
    values: ArrayLike, *, groups: Ids | None = None, level: float = 0.95, draws: int = 4999, seed: int = 0
) -> Interval:
    """The mean with a bias-corrected and accelerated bootstrap interval; t, and a note, on constant values.

    A cross-check for the t interval at n >= 100, never used alone below. Groups are resampled whole. Source: Efron,
    JASA 1987, 82:171-185; the acceleration is the jackknife's.

    >>> bca_interval([0.5] * 30).note
    'All values are equal; t in place of BCa.'
    """
    from ratchet.stats.bootstrap import resample_totals

    x = as_values(values, "values")
    check_level(level)
    codes, n_groups = as_groups(groups, len(x))
    sums, sizes = group_sums(x, codes, n_groups)
    plain = t_interval(x, groups=groups, level=level)
    totals = resample_totals(np.column_stack([sums, sizes]), draws=draws, seed=seed)
    means = np.sort(totals[:, 0] / totals[:, 1])
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes) if n_groups > 1 else np.zeros(1)
    centred = left_out.mean() - left_out
    spread = float((centred**2).sum())
    if plain.se == 0.0 or spread <= 0.0 or means[0] == means[-1]:
        return _with_note(plain, "All values are equal; t in place of BCa.")
    share = float(((means < plain.estimate).sum() + 0.5 * (means == plain.estimate).sum()) / draws)
    if not 0.0 < share < 1.0:
        return _with_note(plain, "All draws lie on one side of the mean; t in place of BCa.")
    bias, acceleration = normal_quantile(share), float((centred**3).sum()) / (6.0 * spread**1.5)

    def limit(p: float) -> float:
        z = bias + normal_quantile(p)
        return float(np.quantile(means, normal_cdf(bias + z / (1.0 - acceleration * z))))

    return Interval(
        estimate=plain.estimate,
        low=limit(0.5 - level / 2.0),
        high=limit(0.5 + level / 2.0),
        level=level,
        n=len(x),
        method="BCa bootstrap",
        n_groups=plain.n_groups,
        draws=draws,
        too_small=plain.too_small,
    )


def _with_note(interval: Interval, note: str) -> Interval:
    return replace(interval, note=note)
