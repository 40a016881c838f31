"""Is a property more frequent among some examples than among the others? Exact, and robust to clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import Ids, as_codes
from ratchet.stats._special import log_choose, t_cdf


def hypergeometric_tail(hits: int, chosen: int, with_property: int, total: int) -> float:
    """P(X >= hits): of `total` examples `with_property` have it, and `chosen` are drawn without replacement.

    The one-sided p-value of Fisher's exact test. Source: Fisher, The Design of Experiments, 1935, ch. 2.

    Raises:
        StatisticsError: The counts contradict one another.

    >>> round(hypergeometric_tail(3, 4, 4, 8), 4)
    0.2429
    """
    if not 0 <= with_property <= total or not 0 <= chosen <= total or hits > min(chosen, with_property):
        raise StatisticsError(
            f"{hits} of {chosen} chosen, {with_property} of {total} in all: expected hits <= chosen, "
            "hits <= with_property, and both <= total"
        )
    most, least = min(chosen, with_property), max(0, chosen + with_property - total)
    if hits <= least:
        return 1.0
    k = np.arange(hits, most + 1)
    terms = log_choose(with_property, k) + log_choose(total - with_property, chosen - k)
    terms -= float(log_choose(total, chosen))
    return min(1.0, float(np.exp(terms).sum()))


def over_represented(chosen: ArrayLike, has_property: ArrayLike, *, groups: Ids | None = None) -> float:
    """The one-sided p-value of "the chosen have the property no more often than the others".

    Exact without groups. With groups the larger of that and of a cluster-robust (CR1) t-test of the difference, whose
    degrees of freedom come from the groups on the rarer side: one group that fails as a whole is one observation.

    Args:
        chosen, has_property: True or False, one an example.
        groups: The cluster of each example.

    >>> round(over_represented([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0]), 4)
    0.2429
    """
    is_chosen, has = np.asarray(chosen, np.bool_), np.asarray(has_property, np.bool_)
    if is_chosen.shape != has.shape or is_chosen.ndim != 1:
        raise StatisticsError(f"chosen has the shape {is_chosen.shape}, has_property {has.shape}")
    exact = hypergeometric_tail(int((is_chosen & has).sum()), int(is_chosen.sum()), int(has.sum()), len(has))
    if groups is None or exact >= 1.0:
        return exact
    codes, _ = as_codes(groups, len(has), "groups")
    return max(exact, _clustered(is_chosen.astype(float), has, codes))


def _clustered(outcome: np.ndarray, has: np.ndarray, codes: np.ndarray) -> float:
    """One-sided p of the slope of `outcome` on `has`, clusters by `codes`."""
    sides = [len(np.unique(codes[has])), len(np.unique(codes[~has]))]
    df = min(sides) - 1
    if df < 1:
        return 1.0
    centred = has - has.mean()
    slope = float(outcome[has].mean() - outcome[~has].mean())
    residual = np.where(has, outcome - outcome[has].mean(), outcome - outcome[~has].mean())
    sums = np.bincount(codes, weights=residual * centred)
    count = len(np.unique(codes))
    variance = float((sums**2).sum()) * count / (count - 1) / float((centred**2).sum()) ** 2
    if variance <= 0:
        return 0.0 if slope > 0 else 1.0
    return 1.0 - t_cdf(slope / math.sqrt(variance), df)
