from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ratchet.errors import StatisticsError
from ratchet.stats.bootstrap import bootstrap_interval, percentile_limits, resample_totals, totals_interval

VALUES = np.random.default_rng(0).normal(1.0, 2.0, 300)


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[:, 0] / sums[:, 1]


def rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([values, np.ones(len(values))])


def test_resampled_totals_have_the_spread_of_the_sum() -> None:
    drawn = resample_totals(rows(VALUES), draws=4000)
    assert float(drawn[:, 0].std()) == pytest.approx(math.sqrt(300) * float(VALUES.std()), rel=0.05)
    assert (drawn[:, 1] == 300).all()


def test_merging_100000_units_into_blocks_keeps_the_standard_error() -> None:
    many = np.random.default_rng(1).exponential(1.0, 100_000)
    found = totals_interval(rows(many), mean, draws=1000)
    expected = 2 * 1.96 * float(many.std()) / math.sqrt(100_000)
    assert found.high - found.low == pytest.approx(expected, rel=0.12)


def test_both_forms_agree_with_scipys_percentile_bootstrap() -> None:
    expected = stats.bootstrap((VALUES,), np.mean, method="percentile", rng=2).confidence_interval
    by_totals = totals_interval(rows(VALUES), mean)
    by_rows = bootstrap_interval(VALUES, lambda drawn: float(drawn.mean()))
    for found in (by_totals, by_rows):
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)


def test_groups_are_drawn_whole() -> None:
    groups = np.arange(300) // 10
    values = np.random.default_rng(3).normal(0, 1, 30)[groups]
    expected = 2 * 1.96 * float(values.std()) / math.sqrt(30)
    for found in (
        totals_interval(rows(values), mean, groups=groups),
        bootstrap_interval(values, lambda drawn: float(drawn.mean()), groups=groups),
    ):
        assert found.high - found.low == pytest.approx(expected, rel=0.15)
        assert found.n_groups == 30


def test_shuffled_rows_and_equal_seeds_give_equal_limits() -> None:
    order = np.random.default_rng(4).permutation(300)
    one, other = totals_interval(rows(VALUES), mean), totals_interval(rows(VALUES[order]), mean)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-12)
    assert totals_interval(rows(VALUES), mean, seed=1).low != one.low


def test_undefined_draws_count_against_both_ends() -> None:
    drawn = np.append(np.zeros(90), np.full(10, np.nan))
    assert percentile_limits(drawn, 0.9) == (-math.inf, math.inf)
    assert percentile_limits(np.append(np.zeros(999), np.nan), 0.9) == (0.0, 0.0)


def test_an_undefined_statistic_is_refused() -> None:
    with pytest.raises(StatisticsError, match="undefined"), np.errstate(invalid="ignore"):
        totals_interval(np.zeros((30, 2)), mean)
    with pytest.raises(StatisticsError, match="totals has shape"):
        totals_interval(np.zeros(30), mean)
