"""Planned looks: O'Brien-Fleming and Pocock boundaries, alpha spending, conditional power."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import FloatArray, check_level
from ratchet.stats._special import normal_cdf, normal_cdf_array, normal_quantile

Boundary = Literal["obrien-fleming", "pocock"]
_NODES = 160
_FAR = 9.0


def _check_fractions(fractions: Sequence[float]) -> FloatArray:
    t = np.asarray(fractions, dtype=np.float64)
    if t.ndim != 1 or len(t) == 0 or t[0] <= 0.0 or t[-1] > 1.0 + 1e-12 or (np.diff(t) <= 0.0).any():
        raise StatisticsError(
            f"fractions are {list(fractions)}; expected rising shares of the planned n, up to 1."
        )
    return t


@lru_cache(maxsize=1)
def _quadrature() -> tuple[FloatArray, FloatArray]:
    return np.polynomial.legendre.leggauss(_NODES)


class _Walk:
    """The density of the score process among paths that crossed no boundary, by Gauss-Legendre quadrature.

    Source: Armitage, McPherson, Rowe, JRSS A 1969, 132:235-244.
    """

    def __init__(self, sides: int) -> None:
        self._sides = sides
        self._points = np.zeros(1)
        self._mass = np.ones(1)
        self._time = 0.0

    def crossing(self, time: float, z: float) -> float:
        """The chance to cross +-z (or +z, one-sided) first at `time`."""
        edge, sd = z * math.sqrt(time), math.sqrt(time - self._time)
        chance = normal_cdf_array((self._points - edge) / sd)
        if self._sides == 2:
            chance = chance + normal_cdf_array((-self._points - edge) / sd)
        return float(np.dot(self._mass, chance))

    def advance(self, time: float, z: float) -> None:
        """Keep the paths that stay inside the boundary at `time`."""
        root = math.sqrt(time)
        top, sd = min(z, _FAR) * root, math.sqrt(time - self._time)
        bottom = -top if self._sides == 2 else -_FAR * root
        nodes, weights = _quadrature()
        points = 0.5 * (top - bottom) * nodes + 0.5 * (top + bottom)
        kernel = np.exp(-0.5 * ((points[:, None] - self._points[None, :]) / sd) ** 2) / (
            sd * math.sqrt(2 * math.pi)
        )
        self._mass = 0.5 * (top - bottom) * weights * (kernel @ self._mass)
        self._points, self._time = points, time


def crossing_probability(fractions: Sequence[float], boundaries: Sequence[float], *, sides: int = 2) -> float:
    """The chance that a true null crosses any of the z `boundaries` at these information fractions.

    Source: Armitage, McPherson, Rowe 1969.

    >>> round(crossing_probability([0.2, 0.4, 0.6, 0.8, 1.0], [1.96] * 5), 3)
    0.142
    """
    walk, total = _Walk(sides), 0.0
    for time, z in zip(_check_fractions(fractions).tolist(), boundaries, strict=True):
        total += walk.crossing(time, z)
        walk.advance(time, z)
    return total


def _bisect(low: float, high: float, target: float, falls: Callable[[float], float]) -> float:
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if falls(middle) > target else (low, middle)
    return 0.5 * (low + high)


def classical_boundaries(
    looks: int, *, kind: Boundary = "obrien-fleming", alpha: float = 0.05, sides: int = 2
) -> list[float]:
    """The z boundary at each of `looks` equally spaced looks: Pocock constant, O'Brien-Fleming c * sqrt(looks/k).

    Source: Pocock, Biometrika 1977, 64:191-199; O'Brien, Fleming, Biometrics 1979, 35:549-556.

    >>> [round(z, 3) for z in classical_boundaries(5, kind="pocock")][0]
    2.413
    >>> round(classical_boundaries(5)[-1], 3)
    2.04
    """
    if looks < 1:
        raise StatisticsError(f"looks is {looks}; expected at least 1.")
    check_level(alpha)
    fractions = [(k + 1) / looks for k in range(looks)]
    shape = [1.0 if kind == "pocock" else math.sqrt(1.0 / t) for t in fractions]

    def total(constant: float) -> float:
        return crossing_probability(fractions, [constant * factor for factor in shape], sides=sides)

    constant = _bisect(0.5, 8.0, alpha, total)
    return [constant * factor for factor in shape]


def spent(fraction: float, *, kind: Boundary = "obrien-fleming", alpha: float = 0.05) -> float:
    """The one-sided alpha spent by this information fraction; all of it at 1.

    O'Brien-Fleming type: 2 - 2 Phi(z_{alpha/2} / sqrt(t)); Pocock type: alpha ln(1 + (e-1) t). Source: Lan, DeMets,
    Biometrika 1983, 70:659-663.

    >>> round(spent(1.0), 4), round(spent(0.5), 4)
    (0.05, 0.0056)
    """
    check_level(alpha)
    if not 0.0 < fraction <= 1.0 + 1e-12:
        raise StatisticsError(f"fraction is {fraction}; expected a share of the planned n above 0, up to 1.")
    if kind == "pocock":
        return alpha * math.log(1.0 + (math.e - 1.0) * min(fraction, 1.0))
    return 2.0 * normal_cdf(-normal_quantile(1.0 - alpha / 2.0) / math.sqrt(min(fraction, 1.0)))


def spending_boundaries(
    fractions: Sequence[float], *, kind: Boundary = "obrien-fleming", alpha: float = 0.05, sides: int = 2
) -> list[float]:
    """The z boundary at each information fraction by alpha spending, so that looks need not be equally spaced.

    Two-sided boundaries are symmetric, each side spending alpha/2. A look where nothing can be spent yet gets an
    infinite boundary. Source: Lan, DeMets 1983; constants as in the ldbounds package.

    >>> [round(z, 2) for z in spending_boundaries([0.2, 0.4, 0.6, 0.8, 1.0])]
    [4.88, 3.36, 2.68, 2.29, 2.03]
    """
    walk, already, boundaries = _Walk(sides), 0.0, list[float]()
    for time in _check_fractions(fractions).tolist():
        goal = sides * spent(time, kind=kind, alpha=alpha / sides)
        share = goal - already

        def crossing(z: float, at: float = time) -> float:
            return walk.crossing(at, z)

        z = _bisect(0.0, _FAR, share, crossing) if share > 1e-15 else math.inf
        boundaries.append(z)
        walk.advance(time, z)
        already = goal
    return boundaries


def conditional_power(z: float, fraction: float, boundary: float, *, drift: float | None = None) -> float:
    """The chance to end above `boundary` given z at this information fraction; below 0.1 it is futile to go on.

    `drift` is the expected z at the planned end, by default the current trend z / sqrt(fraction). Source: Lan, Wittes,
    Biometrics 1988, 44:579-585.

    >>> round(conditional_power(0.2, 0.5, 1.645), 3)
    0.027
    """
    if not 0.0 < fraction < 1.0:
        raise StatisticsError(f"fraction is {fraction}; expected a share of the planned n between 0 and 1.")
    trend = z / math.sqrt(fraction) if drift is None else drift
    ahead = z * math.sqrt(fraction) + trend * (1.0 - fraction)
    return normal_cdf((ahead - boundary) / math.sqrt(1.0 - fraction))
