"""Does a judge prefer the longer answer? Its win rate with the length effect taken out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, as_values, check_level
from ratchet.stats._special import normal_quantile

_RIDGE = 0.01
_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthEffect:
    """How a preference moves with length. Win rates are the candidate's, ties counted as half."""

    coefficient: float
    """Log-odds of winning per unit of tanh(length difference / its standard deviation): 0 is no effect."""
    low: float
    high: float
    level: float
    n: int
    win_rate: float
    """As judged."""
    controlled_win_rate: float
    """At equal length (and, where quality was given, at its mean)."""
    controlled_low: float
    controlled_high: float


def length_effect(
    preference: ArrayLike,
    length_difference: ArrayLike,
    *,
    quality: ArrayLike | None = None,
    level: float = 0.95,
) -> LengthEffect:
    """The effect of length on `preference` (1 win, 0.5 tie, 0 loss of the candidate), by logistic regression.

    logit P(win) = theta + beta * tanh(d / sd(d)), with d the candidate's length minus the baseline's; `quality`, such
    as the difference of people's labels, enters as a further term, so that a longer answer that is also better is not
    taken for a bias. A weak ridge (0.01) keeps separable data finite; intervals are normal, with the sandwich variance.
    No correction stops an answer written to fool the judge. Raises StatisticsError where all lengths are equal. Source:
    Dubois et al. 2024, arXiv 2404.04475 (there with a term an item, which one judgement an item can't carry).

    >>> longer = np.tile([200.0, 100.0, -100.0, -200.0], 25)
    >>> found = length_effect((longer > 0).astype(float) * 0.8 + 0.1, longer)
    >>> found.low > 0, round(found.win_rate, 2), round(found.controlled_win_rate, 2)
    (True, 0.5, 0.5)
    """
    y, d = as_values(preference, "preference"), as_values(length_difference, "length_difference")
    if len(y) != len(d):
        raise PairingError(
            f"There are {len(y)} preferences and {len(d)} length differences; expected one each."
        )
    if ((y < 0.0) | (y > 1.0)).any():
        raise StatisticsError(
            "A preference lies outside 0 to 1; expected 1 for a win, 0.5 for a tie, 0 for a loss."
        )
    spread = float(d.std())
    if spread == 0.0:
        raise StatisticsError(
            f"All length differences are {d[0]:g}; a length effect can't be told from them."
        )
    columns = [np.ones(len(y)), np.tanh(d / spread)]
    if quality is not None:
        q = as_values(quality, "quality")
        if len(q) != len(y):
            raise PairingError(f"There are {len(y)} preferences and {len(q)} qualities; expected one each.")
        if q.std() > 0.0:
            columns.append((q - q.mean()) / q.std())
    x = np.column_stack(columns)
    weights, variance = _fit(x, y)
    z = normal_quantile(0.5 + check_level(level) / 2.0)
    beta, theta = float(weights[1]), float(weights[0])
    se_beta, se_theta = math.sqrt(variance[1, 1]), math.sqrt(variance[0, 0])
    return LengthEffect(
        coefficient=beta,
        low=beta - z * se_beta,
        high=beta + z * se_beta,
        level=level,
        n=len(y),
        win_rate=float(y.mean()),
        controlled_win_rate=_sigmoid(theta),
        controlled_low=_sigmoid(theta - z * se_theta),
        controlled_high=_sigmoid(theta + z * se_theta),
    )


def _sigmoid(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(value / 2.0))


def _fit(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights of the penalised logistic regression by Newton's method, and their sandwich variance."""
    weights = np.zeros(x.shape[1])
    ridge = _RIDGE * np.eye(x.shape[1])
    for _ in range(_STEPS):
        p = 0.5 * (1.0 + np.tanh(x @ weights / 2.0))
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(hessian, x.T @ (y - p) - ridge @ weights)
        # a damped step can't overshoot where the curve is flat
        weights = weights + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-10:
            break
    p = 0.5 * (1.0 + np.tanh(x @ weights / 2.0))
    bread = np.linalg.inv((x * (p * (1.0 - p))[:, None]).T @ x + ridge)
    meat = (x * ((y - p) ** 2)[:, None]).T @ x * (len(y) / max(len(y) - x.shape[1], 1))
    return weights, bread @ meat @ bread
