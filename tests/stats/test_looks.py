from __future__ import annotations

import math

import numpy as np
import pytest

from ratchet.errors import StatisticsError
from ratchet.stats.looks import (
    classical_boundaries,
    conditional_power,
    crossing_probability,
    spending_boundaries,
    spent,
)


def test_the_classical_constants_are_reproduced() -> None:
    # Jennison, Turnbull, Group Sequential Methods 2000, tables 2.1 and 2.3.
    for looks, pocock, fleming in (
        (2, 2.178, 1.977),
        (3, 2.289, 2.004),
        (5, 2.413, 2.040),
        (10, 2.555, 2.087),
    ):
        assert round(classical_boundaries(looks, kind="pocock")[0], 3) == pocock
        assert round(classical_boundaries(looks)[-1], 3) == fleming
    assert classical_boundaries(5)[1] == pytest.approx(2.040 * math.sqrt(5 / 2), abs=1e-3)


def test_the_spending_constants_are_reproduced() -> None:
    # ldbounds, five equal looks, two-sided 5 %.
    fractions = [0.2, 0.4, 0.6, 0.8, 1.0]
    assert spending_boundaries(fractions) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=1e-3)
    assert spending_boundaries(fractions, kind="pocock") == pytest.approx(
        [2.438, 2.427, 2.410, 2.397, 2.386], abs=2e-3
    )


@pytest.mark.parametrize("kind", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("sides", [1, 2])
def test_unequal_looks_spend_exactly_alpha(kind: str, sides: int) -> None:
    fractions = [0.1, 0.35, 0.4, 0.9, 1.0]
    boundaries = spending_boundaries(
        fractions, kind="pocock" if kind == "pocock" else "obrien-fleming", sides=sides
    )
    assert crossing_probability(fractions, boundaries, sides=sides) == pytest.approx(0.05, abs=1e-5)


def test_simulated_walks_cross_at_the_stated_rate() -> None:
    steps = np.random.default_rng(0).normal(size=(40_000, 5))
    z = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, 6))
    for boundaries in (classical_boundaries(5), classical_boundaries(5, kind="pocock"), [1.96] * 5):
        crossed = float((np.abs(z) >= boundaries).any(axis=1).mean())
        assert crossed == pytest.approx(
            crossing_probability([0.2, 0.4, 0.6, 0.8, 1.0], boundaries), abs=0.005
        )


def test_conditional_power_agrees_with_simulation() -> None:
    rng = np.random.default_rng(1)
    z, fraction, drift = 1.2, 0.4, 2.0
    ends = z * math.sqrt(fraction) + rng.normal(drift * 0.6, math.sqrt(0.6), 100_000)
    assert conditional_power(z, fraction, 1.96, drift=drift) == pytest.approx(
        float((ends > 1.96).mean()), abs=0.005
    )
    assert conditional_power(0.0, 0.5, 1.645) < 0.1


def test_senseless_looks_are_refused() -> None:
    with pytest.raises(StatisticsError, match="rising shares"):
        spending_boundaries([0.5, 0.4])
    with pytest.raises(StatisticsError, match="fraction is 0"):
        spent(0.0)
