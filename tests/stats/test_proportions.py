from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ratchet.errors import StatisticsError
from ratchet.stats.proportions import clopper_pearson, exact_bound, rate_interval, wilson_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 30), (81, 263), (99, 100), (100, 100)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_and_clopper_pearson_are_scipys(successes: int, n: int, level: float) -> None:
    test = stats.binomtest(successes, n)
    for function, method in ((wilson_interval, "wilson"), (clopper_pearson, "exact")):
        expected = test.proportion_ci(level, method=method)
        found = function(successes, n, level=level)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [10, 100, 5000])
def test_no_failure_in_n_has_the_closed_form_bound(n: int) -> None:
    assert exact_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n))
    assert exact_bound(n, n, side="lower") == pytest.approx(0.05 ** (1 / n))


def test_rates_are_exact_near_the_ends_and_wilson_between() -> None:
    assert rate_interval([0] * 99 + [1]).method == "Clopper-Pearson"
    assert rate_interval([0, 1] * 50).method == "Wilson score interval"


def test_groups_widen_a_rate_and_all_equal_groups_count_once() -> None:
    values, groups = np.repeat([1, 0, 1, 1, 0] * 4, 10), np.repeat(np.arange(20), 10)
    by_group, exact = rate_interval(values, groups=groups), clopper_pearson(12, 20)
    assert by_group.high - by_group.low == pytest.approx(exact.high - exact.low, rel=0.15)
    none = rate_interval(np.zeros(200), groups=groups)
    assert none.high == pytest.approx(clopper_pearson(0, 20).high)


def test_grouped_rates_hold_their_level() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(500):
        groups = np.repeat(np.arange(30), 5)
        values = rng.random(150) < rng.beta(3.6, 0.4, 30)[groups]
        inside += not rate_interval(values.astype(float), groups=groups).excludes(0.9)
    assert inside / 500 > 0.93


def test_impossible_input_is_refused() -> None:
    with pytest.raises(StatisticsError, match="5 of 3"):
        wilson_interval(5, 3)
    with pytest.raises(StatisticsError, match="only 0 and 1"):
        rate_interval([0.5, 1.0])
    with pytest.raises(StatisticsError, match="level is 95"):
        clopper_pearson(1, 3, level=95)
