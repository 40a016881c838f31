from __future__ import annotations

import math

import numpy as np
import pytest

from ratchet.errors import StatisticsError
from ratchet.stats.enrichment import hypergeometric_tail, over_represented
from ratchet.stats.multiplicity import benjamini_hochberg


def by_hand(hits: int, chosen: int, with_property: int, total: int) -> float:
    ways = sum(
        math.comb(with_property, k) * math.comb(total - with_property, chosen - k)
        for k in range(hits, min(chosen, with_property) + 1)
    )
    return ways / math.comb(total, chosen)


def test_fishers_tea_has_his_p_value() -> None:
    # eight cups, four with milk first: all four found is 1 in 70, three or more 17 in 70
    assert hypergeometric_tail(4, 4, 4, 8) == pytest.approx(1 / 70)
    assert hypergeometric_tail(3, 4, 4, 8) == pytest.approx(17 / 70)


@pytest.mark.parametrize(
    "counts", [(5, 10, 12, 40), (1, 3, 30, 33), (0, 4, 4, 9), (7, 7, 7, 20), (3, 60, 3, 248)]
)
def test_the_tail_is_the_count_of_the_ways(counts: tuple[int, int, int, int]) -> None:
    assert hypergeometric_tail(*counts) == pytest.approx(by_hand(*counts))


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(StatisticsError, match="5 of 4 chosen"):
        hypergeometric_tail(5, 4, 8, 10)


def test_a_property_of_one_whole_group_counts_as_one_observation() -> None:
    groups = np.repeat(np.arange(20), 5)
    worse = np.isin(groups, [3, 7])
    in_group_3 = groups == 3
    assert over_represented(worse, in_group_3) < 0.01
    assert over_represented(worse, in_group_3, groups=groups) == 1.0


def test_a_property_spread_over_groups_still_shows() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 5)
    hard = rng.random(200) < 0.3
    worse = rng.random(200) < np.where(hard, 0.6, 0.05)
    assert over_represented(worse, hard, groups=groups) < 0.001


def test_random_properties_are_rarely_claimed_with_or_without_groups() -> None:
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(30), 4)
    claimed = {False: 0, True: 0}
    for _ in range(150):
        # both the outcome and the properties hang together within a group
        worse = rng.random(120) < np.repeat(rng.choice([0.05, 0.5], 30, p=[0.7, 0.3]), 4)
        for grouped in claimed:
            p = [
                over_represented(
                    worse,
                    np.repeat(rng.random(30) < 0.4, 4) if grouped else rng.random(120) < 0.4,
                    groups=groups if grouped else None,
                )
                for _ in range(10)
            ]
            claimed[grouped] += bool((benjamini_hochberg(p) <= 0.05).any())
    assert claimed[False] <= 0.05 * 150 + 8
    assert claimed[True] <= 0.05 * 150 + 8
