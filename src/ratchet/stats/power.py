"""Before money is spent: how many examples a check needs, and what the given ones can show.

Every function takes the variance of the paired difference per example. For paired 0/1 outcomes that is the discordant
share (the share of examples on which the arms disagree), for a difference near 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import Ids, as_examples, as_values, check_level
from ratchet.stats._special import chi2_quantile, normal_cdf, normal_quantile
from ratchet.stats.means import group_sums
from ratchet.stats.paired import is_binary
from ratchet.stats.proportions import exact_bound


def _z(alpha: float, sides: int) -> float:
    if sides not in (1, 2):
        raise StatisticsError(f"sides is {sides}; expected 1 or 2.")
    return normal_quantile(1.0 - check_level(alpha) / sides)


def needed_n(
    variance: float,
    distance: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: int = 1,
    design: float = 1.0,
) -> int:
    """How many examples let a test reach `power` when the truth lies `distance` from the bound that it must clear.

    For "no worse" with true difference 0 the distance is the margin; for "better", the expected gain minus the minimum
    gain. `design` is the design effect of groups. n = (z_alpha + z_beta)^2 variance / distance^2. Source: Miettinen,
    Biometrics 1968, 24:339-352; Lachin, Controlled Clinical Trials 1981, 2:93-113.

    >>> needed_n(0.10, 0.02), needed_n(0.10, 0.02, power=joint_power(0.8, 5))
    (1546, 2883)
    """
    if variance <= 0.0 or distance <= 0.0 or design <= 0.0:
        raise StatisticsError(
            f"variance {variance}, distance {distance} and design {design} must all be above 0."
        )
    z = _z(alpha, sides) + normal_quantile(check_level(power))
    return max(2, math.ceil(design * variance * (z / distance) ** 2))


def detectable_difference(
    n: int, variance: float, *, alpha: float = 0.05, power: float = 0.8, sides: int = 1, design: float = 1.0
) -> float:
    """The smallest distance from the bound that n examples detect with `power`; same units as the scores.

    Source: `needed_n`, solved for the distance.

    >>> round(detectable_difference(100, 0.10, sides=2), 3)
    0.089
    """
    if n < 2 or variance < 0.0:
        raise StatisticsError(f"n is {n} and variance {variance}; expected n >= 2 and variance >= 0.")
    return (_z(alpha, sides) + normal_quantile(check_level(power))) * math.sqrt(design * variance / n)


def achieved_power(
    n: int, variance: float, distance: float, *, alpha: float = 0.05, sides: int = 1, design: float = 1.0
) -> float:
    """The chance that n examples clear the bound when the truth lies `distance` beyond it.

    Source: `needed_n`, solved for the power; the far tail of a two-sided test is left out.

    >>> round(achieved_power(1546, 0.10, 0.02), 2)
    0.8
    """
    if n < 2 or variance <= 0.0:
        raise StatisticsError(f"n is {n} and variance {variance}; expected n >= 2 and variance > 0.")
    return normal_cdf(distance / math.sqrt(design * variance / n) - _z(alpha, sides))


def joint_power(power: float, checks: int) -> float:
    """The power that each of several checks needs so that all pass with `power`: 1 - (1 - power)/checks.

    The price of "every check must pass" (intersection-union). Source: Bonferroni's inequality.

    >>> round(joint_power(0.8, 5), 2)
    0.96
    """
    if checks < 1:
        raise StatisticsError(f"checks is {checks}; expected at least 1.")
    return 1.0 - (1.0 - check_level(power)) / checks


def design_effect(group_size: float, icc: float) -> float:
    """By how much groups multiply the needed n: 1 + (mean group size - 1) * intraclass correlation, at least 1.

    Source: Kish, Survey Sampling 1965, section 5.4.

    >>> round(design_effect(5, 0.3), 3)
    2.2
    """
    if group_size < 1.0 or icc > 1.0:
        raise StatisticsError(f"group_size is {group_size} and icc {icc}; expected size >= 1 and icc <= 1.")
    return max(1.0, 1.0 + (group_size - 1.0) * icc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a pilot says about planning: the variance of the paired difference, its upper bound, and the design effect.

    `discordant` is the share of examples on which 0/1 outcomes disagree (None for other scores). Plan with
    `variance_upper`: a pilot of 30 to 50 examples can easily be too lucky.
    """

    n: int
    difference: float
    variance: float
    variance_upper: float
    discordant: float | None
    design: float
    n_groups: int | None


def pilot(
    before: ArrayLike,
    after: ArrayLike,
    *,
    examples: Ids | None = None,
    groups: Ids | None = None,
    level: float = 0.8,
) -> Pilot:
    """What a pilot run says about planning; `level` is the one-sided confidence of the variance's upper bound.

    The upper bound is exact for a discordant share and chi-squared otherwise. Source: Browne, Statistics in Medicine
    1995, 14:1933-1940 (planning with the upper bound of a pilot's variance).

    >>> found = pilot([1, 1, 0, 1] * 10, [1, 0, 0, 1] * 10)
    >>> found.discordant, round(found.variance_upper, 3)
    (0.25, 0.325)
    """
    first, second = as_values(before, "before"), as_values(after, "after")
    data = as_examples((first, second), examples, groups)
    difference = data.columns[1] - data.columns[0]
    n = data.n
    if n < 2:
        raise StatisticsError(f"The pilot has {n} example; expected at least 2, better 30 to 50.")
    variance = float(difference.var(ddof=1))
    upper = variance * (n - 1) / chi2_quantile(1.0 - check_level(level), n - 1)
    discordant = None
    if is_binary(first) and is_binary(second) and int(data.repeats.max()) == 1:
        differing = int((difference != 0).sum())
        discordant, upper = differing / n, exact_bound(differing, n, level=level)
    design = 1.0
    if data.groups is not None and variance > 0.0 and data.n_groups > 1:
        sums, sizes = group_sums(difference, data.groups, data.n_groups)
        residuals = sums - sizes * difference.mean()
        clustered = data.n_groups / (data.n_groups - 1) * float((residuals**2).sum()) / n**2
        design = max(1.0, clustered / (variance / n))
    return Pilot(
        n=n,
        difference=float(difference.mean()),
        variance=variance,
        variance_upper=upper,
        discordant=discordant,
        design=design,
        n_groups=data.n_groups if data.groups is not None else None,
    )


def detectable_table(
    ns: ArrayLike, variances: ArrayLike, *, alpha: float = 0.05, power: float = 0.8, sides: int = 1
) -> np.ndarray:
    """The detectable difference for each n (rows) and variance (columns).

    Source: `detectable_difference`.

    >>> (100 * detectable_table([100, 500], [0.1, 0.2], sides=2)).round(1).tolist()
    [[8.9, 12.5], [4.0, 5.6]]
    """
    n, variance = as_values(ns, "ns"), as_values(variances, "variances")
    z = _z(alpha, sides) + normal_quantile(check_level(power))
    return z * np.sqrt(variance[None, :] / n[:, None])
