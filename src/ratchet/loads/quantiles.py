"""Quantiles of requests that follow one another: are they correlated, and how do two arms differ under one load?

Requests that wait in one queue are slow together, so n of them say less than n independent ones. Time is cut into
blocks; where the blocks differ by more than chance, they are what counts. The method was chosen by measuring coverage
(`ratchet.testing.latencies`, docs/load.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._special import beta_quantile, chi2_quantile, normal_quantile, t_quantile
from ratchet.stats.intervals import Interval
from ratchet.stats.quantiles import quantile

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BLOCKS = 12
"""Blocks of time: few, so that each is longer than a queue remembers."""
LEAST_A_BLOCK = 5
P99_ROWS = 1000
"""Below it an interval of a p99 difference doesn't hold its level."""
CORRELATED_AT = 0.05


def blocks_of(times: ArrayLike, blocks: int = BLOCKS) -> Integers:
    """The block of time of each row: `blocks` stretches with about as many rows each, in order of time.

    >>> blocks_of(range(15), 3).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    """
    order = np.argsort(np.asarray(times, np.float64), kind="stable")
    n = len(order)
    count = max(1, min(blocks, n // LEAST_A_BLOCK))
    codes = np.empty(n, np.int64)
    codes[order] = np.arange(n) * count // max(n, 1)
    return codes


def design_effect(values: ArrayLike, blocks: Integers) -> float:
    """How much the variance of the mean of `values` is above that of independent rows; 1 unless it is shown.

    The variance between the blocks' sums against the one within rows; it counts where a chi-squared test of it is
    significant at 5 %, because taking every excess for real widens intervals for nothing. Source: Kish, Survey Sampling,
    1965, section 8.2; the blocks: batch means as in Law, Simulation Modeling and Analysis, section 9.5.3.
    """
    found = _raw_effect(np.asarray(values, np.float64), blocks)
    df = len(np.unique(blocks)) - 1
    return found if df > 1 and found * df > chi2_quantile(1.0 - CORRELATED_AT, df) else 1.0


def _raw_effect(values: Floats, blocks: Integers) -> float:
    n, mean = len(values), values.mean() if len(values) else 0.0
    variance = float(((values - mean) ** 2).sum()) / n if n else 0.0
    if variance <= 0.0:
        return 1.0
    sizes = np.bincount(blocks)
    sums = np.bincount(blocks, weights=values - mean)[sizes > 0]
    count = len(sums)
    return count / (count - 1) * float((sums**2).sum()) / (n * variance) if count > 1 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One arm at one quantile."""

    point: float
    low: float
    high: float
    above: Floats
    """1 where the row lies above the quantile."""
    effect: float


def _side(values: Floats, q: float, blocks: Integers, level: float) -> _Side:
    ordered = np.sort(values)
    n, tail = len(values), 0.5 - level / 2.0
    point = quantile(values, q)
    above = (values > point).astype(np.float64)
    effect = design_effect(above, blocks)
    count = float(n)
    if effect > 1.0:
        df = len(np.unique(blocks)) - 1
        count = n / effect * (normal_quantile(1 - tail) / t_quantile(1 - tail, df)) ** 2
    hits = q * count
    return _Side(
        point=point,
        low=_at(ordered, beta_quantile(tail, hits + 0.5, count - hits + 0.5)),
        high=_at(ordered, beta_quantile(1.0 - tail, hits + 0.5, count - hits + 0.5)),
        above=above,
        effect=effect,
    )


def _at(ordered: Floats, share: float) -> float:
    """The value at this share, the i-th of n standing at (i - 1/2) / n, by linear interpolation; infinite ones stand alone.

    A Jeffreys interval lies nearer to 1/2 than the quantile's own order statistics do; the i-th at (i - 1) / (n - 1)
    would take p99's limits half a row further, and arms of unlike tails lose two points of coverage by that.
    """
    position = min(max(share * len(ordered) - 0.5, 0.0), len(ordered) - 1.0)
    below = math.floor(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low if low == high or position == below else low + (position - below) * (high - low)


def difference(
    before: ArrayLike,
    after: ArrayLike,
    q: float,
    *,
    times: tuple[ArrayLike, ArrayLike] | None = None,
    paired: bool = False,
    level: float = 0.95,
) -> Interval:
    """The difference of two arms' q-quantiles, after minus before, under one offered load; failures are +infinity.

    Each arm's limits are those order statistics between which a Jeffreys interval puts the quantile; the two
    are joined by MOVER. Where the rows are paired or the blocks of time move together, both limits come nearer by the
    share of the variance that the correlation of what lies above each arm's own quantile takes away. No draws, so equal
    data give equal limits.

    Args:
        times: When each row was to start, for the blocks of time; by default the rows are in order of time.
        paired: Row i of both arms is one slot of the schedule: the same prompt at the same moment.

    Raises:
        PairingError: Paired arms of unequal length.
        StatisticsError: An arm has no rows.

    Source: Zou, Donner, Stat. Med. 2008, 27:1693-1702 (MOVER; with correlation: Zou, Psychol. Methods 2007, 12:399-413);
    Brown, Cai, DasGupta, Stat. Sci. 2001, 16:101-133 (Jeffreys); Woodruff, JASA 1952, 47:635-646 (inverting a share).

    >>> slow = np.arange(1.0, 1001.0)
    >>> found = difference(slow, slow + 5.0, 0.5, paired=True)
    >>> found.estimate, found.low, found.high
    (5.0, 5.0, 5.0)
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if not len(first) or not len(second) or np.isnan(first).any() or np.isnan(second).any():
        raise StatisticsError(
            f"{len(first)} and {len(second)} values, none of them NaN, were expected to hold rows"
        )
    if paired and len(first) != len(second):
        raise PairingError(f"paired arms have {len(first)} and {len(second)} rows; expected as many")
    blocks = _joint_blocks(first, second, times)
    one, two = _side(first, q, blocks[0], level), _side(second, q, blocks[1], level)
    together = _correlation(one, two, blocks, paired=paired, q=q)
    n = min(len(first), len(second))
    correlated = one.effect > 1.0 or two.effect > 1.0
    low, high = _joined(one, two, together)
    undetermined = math.isinf(one.point) and math.isinf(two.point)
    return Interval(
        estimate=0.0 if undetermined else two.point - one.point,
        low=-math.inf if undetermined else low,
        high=math.inf if undetermined else high,
        level=level,
        n=n,
        n_groups=len(np.unique(blocks[0])) if correlated else None,
        method=f"p{100 * q:g} difference, MOVER of order statistics{', blocks of time' if correlated else ''}",
        too_small=n < rows_needed(q),
        note="Both arms fail at this quantile; the difference is undetermined." if undetermined else None,
    )


def _joined(one: _Side, two: _Side, together: float) -> tuple[float, float]:
    """The limits of two.point - one.point."""
    if math.isinf(one.point) or math.isinf(two.point):
        fails = two.point if math.isinf(two.point) else -one.point
        return (
            (fails, fails)
            if math.isinf(one.low if math.isinf(one.point) else two.low)
            else (-math.inf, math.inf)
        )
    found = two.point - one.point
    down, up = (two.point - two.low, one.high - one.point), (two.high - two.point, one.point - one.low)
    if math.isinf(one.high) or math.isinf(two.high):
        return found - _mover(*down, together), found + _mover(*up, together)
    below, above = _smoothed(down, up, together)
    return found - below, found + above


def _mover(a: float, b: float, together: float) -> float:
    """How far a limit of a difference lies from it, where those of the arms lie `a` and `b` away."""
    return math.inf if math.isinf(a + b) else math.sqrt(max(a * a + b * b - 2.0 * together * a * b, 0.0))


def _smoothed(down: tuple[float, float], up: tuple[float, float], together: float) -> tuple[float, float]:
    """How far the limits of finite arms' difference lie below and above it; at r = 0 MOVER's distances.

    MOVER's intervals of paired arms hold 97.5 %, by two things. Its square is (a - b)^2 + 2 (1 - r) a b, and each distance
    is a sum of few spacings between order statistics: what a and b differ by chance stays while r takes the rest. So the
    share of variance that is left, 1 - 2 r a b / (a^2 + b^2), takes each arm's distance as the mean of its two. And an
    estimate that strays has the longer side towards the truth. Paired arms keep little of the skew for which the sides
    differ, so from r = 0 to 1/2 both are drawn to their mean. Chosen by coverage.
    """
    second, first = (down[0] + up[0]) / 2.0, (down[1] + up[1]) / 2.0
    square = first * first + second * second
    if square <= 0.0:
        return 0.0, 0.0
    left = max(1.0 - 2.0 * together * first * second / square, 0.0)
    even = min(max(2.0 * together, 0.0), 1.0)
    below, above = (math.sqrt(left * ((1.0 - even) * (a * a + b * b) + even * square)) for a, b in (down, up))
    return below, above


def _joint_blocks(
    first: Floats, second: Floats, times: tuple[ArrayLike, ArrayLike] | None
) -> tuple[Integers, Integers]:
    """Blocks of both arms cut at the same moments."""
    if times is None:
        return blocks_of(np.arange(len(first))), blocks_of(np.arange(len(second)))
    one, two = (np.asarray(each, np.float64) for each in times)
    both = np.concatenate([one, two])
    count = max(1, min(BLOCKS, min(len(one), len(two)) // LEAST_A_BLOCK))
    edges = np.quantile(both, np.arange(1, count) / count)
    return tuple(np.searchsorted(edges, each, side="right").astype(np.int64) for each in (one, two))  # type: ignore[return-value]


def _correlation(
    one: _Side, two: _Side, blocks: tuple[Integers, Integers], *, paired: bool, q: float
) -> float:
    """How far the arms' shares above their quantiles move together, -1 to 1.

    Of a handful of paired rows in the tail none may differ by chance, which would leave no width: r^2 of a row is
    counted as differing.
    """
    if one.effect > 1.0 and two.effect > 1.0:
        count = max(int(blocks[0].max()), int(blocks[1].max())) + 1
        sums = [
            np.bincount(codes, weights=side.above - side.above.mean(), minlength=count).astype(np.float64)
            for side, codes in ((one, blocks[0]), (two, blocks[1]))
        ]
        return _pearson(sums[0], sums[1])
    if not paired:
        return 0.0
    found = _pearson(one.above, two.above)
    return found - max(found, 0.0) ** 2 / max(2.0 * len(one.above) * q * (1.0 - q), 1.0)


def _pearson(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0.0 else 0.0


def pooled_interval(
    ordered: NDArray[np.float32],
    values: NDArray[np.float32],
    offsets: Integers,
    q: float,
    *,
    level: float = 0.95,
) -> Interval:
    """The q-quantile of many values a request, such as token gaps, with an interval whose unit is the request.

    Args:
        ordered: The same values, sorted: sorting millions once is enough for all quantiles.
        offsets: Where each request's values begin, and the end: one entry more than requests.

    Source: Woodruff, JASA 1952, 47:635-646, with the variance of a share in clusters (Cochran, Sampling Techniques, 1977,
    section 3.12).
    """
    n = len(ordered)
    point = _at_single(ordered, q)
    sizes = np.diff(offsets)
    kept = sizes > 0
    below = np.add.reduceat(values <= np.float32(point), offsets[:-1][kept], dtype=np.int64).astype(
        np.float64
    )
    count = int(kept.sum())
    share = float(below.sum()) / n
    spread = float(((below - share * sizes[kept]) ** 2).sum()) * count / max(count - 1, 1)
    floor = q * (1.0 - q) * n
    reach = normal_quantile(0.5 + level / 2.0) * math.sqrt(max(spread, floor)) if count > 1 else math.inf
    low, high = (
        math.floor(n * q - reach) if count > 1 else 0,
        math.ceil(n * q + reach) + 1 if count > 1 else n + 1,
    )
    return Interval(
        estimate=point,
        low=float(ordered[low - 1]) if low >= 1 else -math.inf,
        high=float(ordered[high - 1]) if high <= n else math.inf,
        level=level,
        n=n,
        n_groups=count,
        method="Woodruff, requests as clusters",
    )


def _at_single(ordered: NDArray[np.float32], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (position - below) * (high - low)


def rows_needed(q: float) -> int:
    """How many rows a difference of this quantile needs to decide anything: 1,000 for p99, 59 for p95, 5 for p50."""
    tail = max(q, 1.0 - q)
    return P99_ROWS if tail >= 0.99 else math.ceil(math.log(0.05) / math.log(tail))
