"""Longer simulations of what the intervals claim; the short ones stand beside their functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ratchet.stats.paired import paired_difference
from ratchet.stats.sequential import betting_interval

Pairs = tuple[NDArray[np.float64], NDArray[np.float64]]
ROUNDS = 2000


def share_missed(pairs: Pairs, n: int, seed: int) -> tuple[float, float]:
    """How often the truth lies above and below the two-sided 90 % interval that decides."""
    before, after = pairs
    rng, truth = np.random.default_rng(seed), float((after - before).mean())
    above = below = 0
    for _ in range(ROUNDS):
        rows = rng.integers(0, len(before), n)
        found = paired_difference(before[rows], after[rows], level=0.9)
        above += truth > found.high
        below += truth < found.low
    return above / ROUNDS, below / ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 100, 300])
def test_each_side_of_the_deciding_interval_errs_at_most_five_percent(
    n: int, cruxeval: NDArray[np.float64], bbh: tuple[NDArray[np.float64], NDArray[np.float64], list[str]]
) -> None:
    bound = 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / ROUNDS)
    for pairs in ((cruxeval[:, 0], cruxeval[:, 7]), bbh[:2]):
        assert max(share_missed(pairs, n, seed=n)) < bound + (0.01 if n < 300 else 0.0)


@pytest.mark.slow
def test_betting_on_equal_arms_raises_few_alarms_over_all_looks(cruxeval: NDArray[np.float64]) -> None:
    rng, alarms = np.random.default_rng(0), 0
    difference = cruxeval[:, 7] - cruxeval[:, 0]
    for _ in range(300):
        values = rng.permutation(np.where(rng.random(800) < 0.5, difference, -difference))
        alarms += betting_interval(values, bounds=(-1.0, 1.0)).excludes(0.0)
    assert alarms / 300 <= 0.05
