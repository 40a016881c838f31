"""Paired yes/no outcomes: Tango's score interval and the McNemar tests."""

from __future__ import annotations

import math
from functools import lru_cache

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import check_level
from ratchet.stats._special import binomial_cdf, normal_cdf, normal_quantile
from ratchet.stats.intervals import Alternative, Interval


def _check(losses: float, gains: float, n: float) -> None:
    if losses < 0 or gains < 0 or n < 1 or losses + gains > n * (1.0 + 1e-9):
        raise StatisticsError(
            f"{losses} losses and {gains} gains among {n} pairs do not fit; expected losses + gains <= n and n >= 1."
        )


def tango_score(losses: float, gains: float, n: float, difference: float) -> float:
    """The score statistic z of H0: P(gain) - P(loss) = `difference`; positive when the data lie above it.

    Source: Tango, Statistics in Medicine 1998, 17:891-908, with the restricted maximum-likelihood loss rate.

    >>> round(tango_score(1, 7, 21, 0.0), 4)
    2.1213
    """
    _check(losses, gains, n)
    distance = gains - losses - n * difference
    if abs(difference) >= 1.0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    linear = (2 * n - gains + losses) * difference - losses - gains
    constant = -losses * difference * (1.0 - difference)
    root = math.sqrt(max(linear * linear - 8.0 * n * constant, 0.0))
    # Of the two algebraic forms of the larger root, take the one without cancellation.
    loss_rate = (root - linear) / (4.0 * n) if linear <= 0 else -2.0 * constant / (root + linear)
    loss_rate = max(loss_rate, 0.0, -difference)
    variance = n * (2.0 * loss_rate + difference * (1.0 - difference))
    if variance <= 0.0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango_p(
    losses: float, gains: float, n: float, *, null: float = 0.0, alternative: Alternative = "two-sided"
) -> float:
    """The p-value of Tango's score test of P(gain) - P(loss) = `null`, the test that his interval inverts.

    With `null = -margin` and `alternative="greater"` it is the test of non-inferiority (Tango 1998).

    >>> round(tango_p(5, 6, 100, null=-0.10, alternative="greater"), 4)
    0.0028
    """
    z = tango_score(losses, gains, n, null)
    if alternative == "greater":
        return normal_cdf(-z)
    if alternative == "less":
        return normal_cdf(z)
    return min(1.0, 2.0 * normal_cdf(-abs(z)))


def tango_limits(losses: float, gains: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """The limits of Tango's score interval; counts need not be whole, as those at an effective number of pairs.

    Source: `tango_interval`; the limits are the differences whose score statistic is +-z, found by bisection.

    >>> low, high = tango_limits(0, 0, 100)
    >>> round(low, 4), round(high, 4)
    (-0.037, 0.037)
    """
    _check(losses, gains, n)
    z = normal_quantile(0.5 + check_level(level) / 2.0)
    estimate = (gains - losses) / n

    def limit(target: float, low: float, high: float) -> float:
        for _ in range(60):
            middle = 0.5 * (low + high)
            if tango_score(losses, gains, n, middle) > target:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    return (
        -1.0 if losses == n else limit(z, -1.0, estimate),
        1.0 if gains == n else limit(-z, estimate, 1.0),
    )


@lru_cache(maxsize=4096)
def tango_interval(losses: int, gains: int, n: int, *, level: float = 0.95) -> Interval:
    """Tango's score interval for P(gain) - P(loss), with the McNemar mid-p value of equality.

    `losses` are pairs that only the first arm got right, `gains` pairs that only the second did, of `n` pairs.
    Valid without any discordant pair and at small n. Source: Tango, Statistics in Medicine 1998, 17:891-908.

    >>> found = tango_interval(0, 0, 100)
    >>> round(found.low, 4), round(found.high, 4)
    (-0.037, 0.037)
    """
    low, high = tango_limits(losses, gains, n, level=level)
    return Interval(
        estimate=(gains - losses) / n,
        low=low,
        high=high,
        level=level,
        n=n,
        method="Tango score interval",
        p=mcnemar_midp(losses, gains),
        p_method="McNemar mid-p",
    )


def mcnemar_midp(losses: int, gains: int, *, alternative: Alternative = "two-sided") -> float:
    """The mid-p value of McNemar's test that gains and losses are equally likely; 1 without discordant pairs.

    Source: Fagerland, Lydersen, Laake, BMC Medical Research Methodology 2013, 13:91 (2 cdf(min) - pmf(min)).

    >>> round(mcnemar_midp(1, 7), 4)
    0.0391
    """
    return _binomial_p(losses, gains, alternative, mid=0.5)


def mcnemar_exact(losses: int, gains: int, *, alternative: Alternative = "two-sided") -> float:
    """The exact conditional (sign test) p-value that gains and losses are equally likely; conservative.

    Source: McNemar 1947; Fagerland, Lydersen, Laake 2013 give the worked example.

    >>> round(mcnemar_exact(1, 7), 4)
    0.0703
    """
    return _binomial_p(losses, gains, alternative, mid=0.0)


def _binomial_p(losses: int, gains: int, alternative: Alternative, *, mid: float) -> float:
    _check(losses, gains, max(losses + gains, 1))
    n = losses + gains
    if n == 0:
        return 1.0

    def lower_tail(k: int) -> float:
        below, at = binomial_cdf(k - 1, n, 0.5), binomial_cdf(k, n, 0.5)
        return at - mid * (at - below)

    if alternative == "greater":
        return lower_tail(losses)
    if alternative == "less":
        return lower_tail(gains)
    return min(1.0, 2.0 * lower_tail(min(losses, gains)))
