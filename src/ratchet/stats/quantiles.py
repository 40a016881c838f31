"""Quantiles of latency and cost: point, interval, difference and ratio between arms; failures may be +infinity."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import PairingError, StatisticsError
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
from ratchet.stats._special import binomial_cdf, incomplete_beta, normal_quantile, t_quantile
from ratchet.stats.bootstrap import MAX_BLOCKS, merge_units, percentile_limits, resample_counts
from ratchet.stats.intervals import Interval
from ratchet.stats.means import FEW_GROUPS, SMALL_N, group_sums, grouped_mean

Scale = Literal["difference", "ratio"]
Units = tuple[Ids, Ids] | Literal["paired", "independent"]
_GRID = 512
_WINDOW_SD = 6.0
_DRAW_CHUNK = 500


def _check_q(q: float) -> float:
    if not 0.0 < q < 1.0:
        raise StatisticsError(f"q is {q}; expected a share between 0 and 1, such as 0.95 for p95.")
    return q


def _blend(low: FloatArray, high: FloatArray, share: FloatArray) -> FloatArray:
    # 0 * infinity and infinity - infinity are NaN; at share 0 the lower value stands, equal values stand.
    with np.errstate(invalid="ignore"):
        mixed = low + share * (high - low)
    return np.where((share == 0.0) | (low == high), low, mixed)


def quantile(values: ArrayLike, q: float) -> float:
    """The q-quantile by linear interpolation (numpy's default, type 7), with +infinity for failures legal.

    Source: Hyndman, Fan, American Statistician 1996, 50:361-365.

    >>> quantile([1.0, 2.0, 3.0, float("inf")], 0.5), quantile([1.0, 2.0, 3.0, float("inf")], 0.95)
    (2.5, inf)
    """
    x = np.sort(as_values(values, "values", infinite=True))
    position = _check_q(q) * (len(x) - 1)
    below = math.floor(position)
    above = min(below + 1, len(x) - 1)
    return float(_blend(x[below : below + 1], x[above : above + 1], np.array([position - below]))[0])


def harrell_davis(values: ArrayLike, q: float) -> float:
    """The Harrell-Davis quantile, a weighted mean of all order statistics; smoother at small n.

    Any +infinity makes it infinite, so it suits successes only. Source: Harrell, Davis, Biometrika 1982, 69:635-640.

    >>> round(harrell_davis([1.0, 2.0, 3.0, 4.0, 10.0], 0.5), 4)
    3.2896
    """
    x = np.sort(as_values(values, "values", infinite=True))
    n = len(x)
    edges = incomplete_beta(np.arange(n + 1) / n, (n + 1) * _check_q(q), (n + 1) * (1 - q))
    return float(np.dot(np.diff(edges), x)) if np.isfinite(x).all() else math.inf


def quantile_interval(
    values: ArrayLike, q: float, *, groups: Ids | None = None, level: float = 0.95
) -> Interval:
    """A distribution-free interval of the q-quantile from order statistics; groups widen it.

    Without groups it is exact: an end for which n is too small is infinite (p95 needs n >= 59 for a one-sided 95 %
    bound, that is level 0.9 here). With groups, the interval of the share below the quantile is cluster-robust and
    read back as values (Woodruff, JASA 1952, 47:635-646). Source of the exact form: David, Nagaraja, Order Statistics,
    section 7.1.

    >>> found = quantile_interval(range(1, 101), 0.5)
    >>> found.low, found.high
    (40.0, 61.0)
    >>> quantile_interval(range(58), 0.95, level=0.9).high, quantile_interval(range(59), 0.95, level=0.9).high
    (inf, 58.0)
    """
    x = as_values(values, "values", infinite=True)
    n, tail = len(x), 0.5 - check_level(level) / 2.0
    ordered = np.sort(x)
    point = quantile(x, q)
    codes, n_groups = as_groups(groups, n)
    few = False
    if codes is not None:
        mean = grouped_mean(*group_sums((x <= point).astype(np.float64), codes, n_groups))
        few = mean.too_few
        z = normal_quantile(1.0 - tail)
        # The t limit of the share of values at or below the point, in ranks.
        reach = (t_quantile(1.0 - tail, mean.df) if n_groups > 1 else math.inf) * mean.se
        reach = max(reach, z * math.sqrt(q * (1 - q) / n)) * n
        low_rank = math.floor(n * q - reach) if math.isfinite(reach) else 0
        high_rank = math.ceil(n * q + reach) + 1 if math.isfinite(reach) else n + 1
        method = f"Woodruff, cluster-robust ({mean.correction})"
    else:
        low_rank, high_rank = _exact_ranks(n, q, tail)
        method = "order statistics, exact"
    return Interval(
        estimate=point,
        low=float(ordered[low_rank - 1]) if low_rank >= 1 else -math.inf,
        high=float(ordered[high_rank - 1]) if high_rank <= n else math.inf,
        level=level,
        n=n,
        method=method,
        n_groups=n_groups if n_groups < n else None,
        too_small=n < SMALL_N or few,
        note="n is too small for a finite limit at this quantile." if low_rank < 1 or high_rank > n else None,
    )


def _exact_ranks(n: int, q: float, tail: float) -> tuple[int, int]:
    """The largest rank below and the smallest rank above the quantile, each missed with probability <= tail."""
    guess, step = n * q, 4.0 * math.sqrt(n * q * (1 - q)) * max(1.0, -normal_quantile(tail)) + 2
    low, high = max(0, math.floor(guess - step)), min(n, math.floor(guess))
    # P(rank l lies above the quantile) = P(Binomial(n, q) <= l - 1).
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if binomial_cdf(middle - 1, n, q) <= tail else (low, middle - 1)
    lowest = low
    low, high = max(0, math.floor(guess)), min(n + 1, math.ceil(guess + step))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if 1.0 - binomial_cdf(middle - 1, n, q) <= tail else (middle + 1, high)
    highest = low if 1.0 - binomial_cdf(low - 1, n, q) <= tail else n + 1
    return lowest, highest


def _drawn_quantiles(x: FloatArray, blocks: IntArray, weights: FloatArray, q: float) -> FloatArray:
    """The q-quantile of each resample: counts at or below a grid of thresholds, by one matrix product.

    The grid is the order statistics within six standard deviations of the quantile's rank, thinned to 512.
    """
    n, n_blocks = len(x), weights.shape[1]
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    sizes = np.bincount(blocks, minlength=n_blocks).astype(np.float64)
    below = sums_by(blocks, (x <= quantile(x, q)).astype(np.float64), n_blocks) - q * sizes
    spread = max(math.sqrt(float((below**2).sum())), math.sqrt(n * q * (1 - q)))
    first = max(0, math.floor(n * q - _WINDOW_SD * spread) - 1)
    last = min(n - 1, math.ceil(n * q + _WINDOW_SD * spread) + 1)
    ranks = np.unique(np.linspace(first, last, min(_GRID, last - first + 1)).astype(np.int64))
    ranks = ranks[np.append(ordered[ranks][1:] != ordered[ranks][:-1], True)]
    grid = ordered[ranks]
    cell = np.searchsorted(grid, x, side="left")
    counts = np.bincount(blocks * (len(grid) + 1) + cell, minlength=n_blocks * (len(grid) + 1))
    at_or_below = counts.reshape(n_blocks, -1)[:, :-1].cumsum(axis=1).astype(np.float32)
    # Counts stay below 2^24 a cell here, so single precision is exact for up to 16 million rows.
    drawn = weights.astype(np.float32) @ at_or_below
    total = weights @ sizes
    position = q * (np.maximum(total, 1.0) - 1.0)
    rank = np.floor(position + 1e-9)
    share = np.clip(position - rank, 0.0, 1.0)
    lower = np.minimum((drawn < (rank + 1)[:, None]).sum(axis=1), len(grid) - 1)
    upper = np.minimum((drawn < np.minimum(rank + 2, total)[:, None]).sum(axis=1), len(grid) - 1)
    return np.where(total > 0, _blend(grid[lower], grid[upper], share), np.nan)


def _as_units(before: FloatArray, after: FloatArray, units: Units) -> tuple[IntArray, IntArray, int]:
    """The unit of each row of both arms, and how many units they share (0: the arms are drawn apart)."""
    if units == "independent":
        return _ranks(np.argsort(before, kind="stable")), _ranks(np.argsort(after, kind="stable")), 0
    if units != "paired":
        first, second = units
        if len(first) != len(before) or len(second) != len(after):
            raise PairingError(
                f"There are {len(first)} and {len(second)} units for {len(before)} and {len(after)} rows; expected one a row."
            )
        codes, keys = as_codes([*list(first), *list(second)], len(before) + len(after), "units")
        return codes[: len(before)], codes[len(before) :], len(keys)
    if len(before) != len(after):
        raise PairingError(
            f"The arms have {len(before)} and {len(after)} rows; expected equal lengths, units, or 'independent'."
        )
    # A fixed order, so that shuffled rows give the same draws.
    ranks = _ranks(np.lexsort((after, before)))
    return ranks, ranks, len(before)


def _ranks(order: IntArray) -> IntArray:
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _draw(
    before: FloatArray,
    after: FloatArray,
    units: tuple[IntArray, IntArray, int],
    q: float,
    draws: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    first, second, joint = units
    pairs: list[tuple[FloatArray, IntArray, int]] = [
        (before, first, joint or len(before)),
        (after, second, joint or len(after)),
    ]
    blocks: list[tuple[IntArray, int]] = []
    merged = merge_units(joint, rng) if joint else None
    for _, codes, count in pairs:
        own = merged if joint else merge_units(count, rng)
        blocks.append((codes, count) if own is None else (own[codes], MAX_BLOCKS))
    drawn: list[list[FloatArray]] = [[], []]
    for start in range(0, draws, _DRAW_CHUNK):
        size = min(_DRAW_CHUNK, draws - start)
        weights = resample_counts(blocks[0][1], size, rng)
        drawn[0].append(_drawn_quantiles(before, blocks[0][0], weights, q))
        if not joint:
            weights = resample_counts(blocks[1][1], size, rng)
        drawn[1].append(_drawn_quantiles(after, blocks[1][0], weights, q))
    return np.concatenate(drawn[0]), np.concatenate(drawn[1])


def quantile_difference(
    before: ArrayLike,
    after: ArrayLike,
    q: float,
    *,
    units: Units = "paired",
    scale: Scale = "difference",
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Interval:
    """The difference (or ratio) of the two arms' q-quantiles, after against before, with a percentile bootstrap.

    What is resampled are units, whole and jointly in both arms: row i of both arms ("paired"), every row on its own
    ("independent"), or the given ids of each arm's rows (examples, groups, blocks of time). Above 2,000 units they are merged into random
    blocks, which are independent too, so time grows only with the sort. Failures are +infinity: a quantile that falls
    on them is infinite, and where both do the difference is undetermined and the interval says so. For p99, ask for
    n >= 1000. Source: Efron, Tibshirani 1993, chapter 13; random groups: Wolter 2007, chapter 2.

    >>> rng = np.random.default_rng(1)
    >>> slow = rng.lognormal(0, 0.5, 400)
    >>> found = quantile_difference(slow, slow * 0.8, 0.95, scale="ratio")
    >>> round(found.estimate, 3), found.high < 0.81
    (0.8, True)
    """
    first, second = as_values(before, "before", infinite=True), as_values(after, "after", infinite=True)
    check_level(level)
    codes = _as_units(first, second, units)
    drawn = _draw(first, second, codes, _check_q(q), draws, seed)
    contrast = _contrast(drawn[0], drawn[1], scale)
    low, high = percentile_limits(contrast, level)
    point = float(_contrast(np.array([quantile(first, q)]), np.array([quantile(second, q)]), scale)[0])
    n = min(len(first), len(second))
    n_units = codes[2] or n
    undetermined = math.isnan(point)
    return Interval(
        estimate=(0.0 if scale == "difference" else 1.0) if undetermined else point,
        low=low if not undetermined else -math.inf,
        high=high if not undetermined else math.inf,
        level=level,
        n=n,
        method=f"p{100 * q:g} {scale}, bootstrap of {'units' if n_units < n else 'rows'}",
        n_groups=n_units if n_units < n else None,
        draws=draws,
        too_small=n < SMALL_N or n_units < FEW_GROUPS,
        note="Both arms fail at this quantile; the difference is undetermined." if undetermined else None,
    )


def _contrast(before: FloatArray, after: FloatArray, scale: Scale) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return after - before if scale == "difference" else after / before
