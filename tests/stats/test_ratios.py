from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ratchet.errors import StatisticsError
from ratchet.stats.ratios import mean_log_ratio, ratio_bootstrap, ratio_of_means

RNG = np.random.default_rng(9)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(9).bit_generator.state


BEFORE = RNG.lognormal(0, 0.6, 200)
AFTER = BEFORE * RNG.lognormal(-0.3, 0.3, 200)


def test_the_jackknife_is_close_to_the_delta_method_and_to_the_bootstrap() -> None:
    found = ratio_of_means(BEFORE, AFTER)
    influence = AFTER / AFTER.mean() - BEFORE / BEFORE.mean()
    assert found.estimate == pytest.approx(AFTER.mean() / BEFORE.mean())
    assert found.se == pytest.approx(float(influence.std(ddof=1)) / math.sqrt(200), rel=0.03)
    drawn = ratio_bootstrap(BEFORE, AFTER)
    assert (drawn.low, drawn.high) == pytest.approx((found.low, found.high), rel=0.01)


def test_swapping_inverts_and_scaling_changes_nothing() -> None:
    found, swapped = ratio_of_means(BEFORE, AFTER), ratio_of_means(AFTER, BEFORE)
    assert (swapped.low, swapped.high) == pytest.approx((1 / found.high, 1 / found.low))
    scaled = ratio_of_means(1e-6 * BEFORE, 1e-6 * AFTER)
    assert (scaled.low, scaled.high) == pytest.approx((found.low, found.high))


def test_the_log_ratio_is_scipys_t_on_logs() -> None:
    found = mean_log_ratio(BEFORE, AFTER, null=0.8)
    expected = stats.ttest_1samp(np.log(AFTER / BEFORE), math.log(0.8))
    limits = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((math.exp(limits.low), math.exp(limits.high)))
    assert found.p == pytest.approx(float(np.asarray(expected)[1]))


def test_groups_and_repeats_are_respected() -> None:
    groups = np.repeat(np.arange(20), 10)
    tilted = AFTER * np.exp(np.random.default_rng(1).normal(0, 0.5, 20))[groups]
    grouped, plain = ratio_of_means(BEFORE, tilted, groups=groups), ratio_of_means(BEFORE, tilted)
    assert grouped.high / grouped.low > plain.high / plain.low
    assert grouped.n_groups == 20
    twice = ratio_of_means(np.repeat(BEFORE, 2), np.repeat(AFTER, 2), examples=np.repeat(np.arange(200), 2))
    once = ratio_of_means(BEFORE, AFTER)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_a_total_carried_by_few_examples_is_too_small() -> None:
    before = np.append(np.ones(100), 1000.0)
    found = ratio_of_means(before, before * np.linspace(0.9, 1.1, 101))
    assert found.too_small
    assert found.note is not None
    assert "carry the total" in found.note


def test_one_example_with_all_the_cost_gives_no_interval() -> None:
    found = ratio_of_means([1.0, 0.0, 0.0], [2.0, 0.0, 0.0])
    assert (found.low, found.high, found.p) == (0.0, math.inf, 1.0)


def test_coverage_of_skewed_costs() -> None:
    rng = np.random.default_rng(2)
    for n, sd in ((20, 1.5), (100, 1.0)):
        inside = 0
        for _ in range(800):
            before = rng.lognormal(0, sd, n)
            after = before * rng.lognormal(-0.1, 0.3, n)
            inside += not ratio_of_means(before, after).excludes(math.exp(-0.1 + 0.045))
        assert inside / 800 > 0.925


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(StatisticsError, match="a ratio needs all above 0"):
        ratio_of_means([0.0, 0.0], [1.0, 2.0])
    with pytest.raises(StatisticsError, match="smallest value is 0"):
        mean_log_ratio([0.0, 1.0], [1.0, 2.0])
