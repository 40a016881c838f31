"""Distribution functions from scipy.special under plain names and types (scipy.stats costs 65 MB a process)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class _Special:
    """scipy.special from its first use on: 23 MB that a page of kept verdicts never needs."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module("scipy.special"), name)
        setattr(self, name, found)
        return found


_scipy: Any = _Special()


def normal_cdf(x: float) -> float:
    """P(Z <= x) for a standard normal Z."""
    return float(_scipy.ndtr(x))


def normal_quantile(p: float) -> float:
    """The x with P(Z <= x) = p."""
    return float(_scipy.ndtri(p))


def normal_cdf_array(x: ArrayLike) -> NDArray[np.float64]:
    """P(Z <= x), elementwise."""
    return np.asarray(_scipy.ndtr(x), dtype=np.float64)


def t_cdf(x: float, df: float) -> float:
    """P(T <= x) for Student's t with `df` degrees of freedom."""
    return float(_scipy.stdtr(df, x))


def t_quantile(p: float, df: float) -> float:
    """The x with P(T <= x) = p for Student's t with `df` degrees of freedom."""
    return float(_scipy.stdtrit(df, p))


def chi2_quantile(p: float, df: float) -> float:
    """The x with P(X <= x) = p for a chi-squared X."""
    return 2.0 * float(_scipy.gammaincinv(df / 2.0, p))


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) for X ~ Beta(a, b)."""
    return float(_scipy.betainc(a, b, x))


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with P(X <= x) = p for X ~ Beta(a, b)."""
    return float(_scipy.betaincinv(a, b, p))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p); 0 below the range."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else float(_scipy.bdtr(k, n, p))


def log_beta(a: float, b: float) -> float:
    """log B(a, b)."""
    return float(_scipy.betaln(a, b))


def incomplete_beta(x: ArrayLike, a: float, b: float) -> NDArray[np.float64]:
    """The regularised incomplete beta function at each x."""
    return np.asarray(_scipy.betainc(a, b, x), dtype=np.float64)


def log_choose(n: int, k: ArrayLike) -> NDArray[np.float64]:
    """log of the number of ways to choose k of n, at each k."""
    chosen = np.asarray(k, dtype=np.float64)
    return np.asarray(-np.log(n + 1.0) - _scipy.betaln(n - chosen + 1.0, chosen + 1.0), dtype=np.float64)
