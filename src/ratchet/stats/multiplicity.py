"""Many checks, one decision: when to correct p-values, and how."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import FloatArray, as_values


def _as_p_values(p_values: ArrayLike) -> FloatArray:
    p = as_values(p_values, "p_values")
    if (p < 0).any() or (p > 1).any():
        raise StatisticsError(f"p_values range from {p.min()} to {p.max()}; expected numbers from 0 to 1.")
    return p


def intersection_union(p_values: ArrayLike) -> float:
    """The p-value of "all of these hold": the largest, with no correction.

    When a change ships only if every check passes, each check at level alpha keeps the false-ship rate at or below
    alpha whatever their dependence. Source: Berger, Technometrics 1982, 24:295-300.

    >>> intersection_union([0.01, 0.04, 0.002])
    0.04
    """
    return float(_as_p_values(p_values).max())


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm-adjusted p-values in the order given: reject where adjusted <= alpha, family-wise error <= alpha.

    For "any one of these may win" and for claims of proven harm. Source: Holm, Scandinavian Journal of Statistics
    1979, 6:65-70.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _as_p_values(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Benjamini-Hochberg adjusted p-values in the order given: rejecting at <= q keeps the false discovery rate <= q.

    For exploratory slices, which can never cause a ship. Source: Benjamini, Hochberg, JRSS B 1995, 57:289-300.

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    p = _as_p_values(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
