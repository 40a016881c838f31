from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from ratchet.errors import PairingError, StatisticsError
from ratchet.loads import quantiles
from ratchet.testing.latencies import LATENCIES


def test_blocks_are_stretches_of_time_of_like_size() -> None:
    blocks = quantiles.blocks_of([5.0, 1.0, 3.0, 2.0, 4.0, 6.0] * 5, 3)
    assert np.bincount(blocks).tolist() == [10, 10, 10]
    assert blocks[1] == 0
    assert blocks[5] == 2


def test_independent_rows_have_a_design_effect_of_one_nearly_always() -> None:
    rng = np.random.default_rng(1)
    blocks = quantiles.blocks_of(np.arange(600))
    effects = [quantiles.design_effect(rng.random(600) < 0.05, blocks) for _ in range(200)]
    assert np.mean([effect > 1.0 for effect in effects]) < 0.1


def test_a_stall_shows_as_a_design_effect() -> None:
    slow = np.zeros(600)
    slow[300:360] = 1.0
    assert quantiles.design_effect(slow, quantiles.blocks_of(np.arange(600))) > 20


def test_an_interval_of_correlated_rows_is_wider_and_says_so() -> None:
    rng = np.random.default_rng(2)
    stretches = np.repeat(rng.lognormal(0, 0.4, 30), 40)
    before, after = stretches * rng.lognormal(0, 0.1, 1200), np.repeat(rng.lognormal(0, 0.4, 30), 40)
    kept = quantiles.difference(before, after, 0.5)
    mixed = quantiles.difference(rng.permutation(before), rng.permutation(after), 0.5)
    assert kept.high - kept.low > 2 * (mixed.high - mixed.low)
    assert "blocks of time" in kept.method
    assert kept.n_groups == quantiles.BLOCKS


def test_pairing_narrows_a_difference_where_long_prompts_are_slow_on_both() -> None:
    rng = np.random.default_rng(3)
    prompt = rng.lognormal(0, 0.5, 1000)
    before, after = prompt * rng.lognormal(0, 0.1, 1000), 1.1 * prompt * rng.lognormal(0, 0.1, 1000)
    paired = quantiles.difference(before, after, 0.5, paired=True)
    apart = quantiles.difference(before, after, 0.5)
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
    assert paired.estimate == apart.estimate


def test_the_sides_of_a_difference_of_paired_rows_are_alike_and_of_rows_apart_are_not() -> None:
    rng = np.random.default_rng(5)
    before, after = LATENCIES["same prompts"](1000, rng)
    sides = [
        (found.estimate - found.low, found.high - found.estimate)
        for found in (quantiles.difference(before, after, 0.5, paired=paired) for paired in (True, False))
    ]
    assert sides[0][0] == pytest.approx(sides[0][1])
    assert sides[1][0] != pytest.approx(sides[1][1], rel=0.02)


def test_a_handful_of_paired_rows_in_the_tail_that_agree_still_leave_a_width() -> None:
    slow = np.random.default_rng(6).permutation(np.arange(1.0, 1001.0))
    found = quantiles.difference(slow, slow + 5.0, 0.99, paired=True)
    assert found.n_groups is None, "no blocks of time here"
    assert found.low < 5.0 < found.high
    assert found.high - found.low < 8.0, "apart it would be near 20"


def test_the_limits_of_one_arm_miss_its_p99_about_as_often_on_either_side() -> None:
    rows = np.random.default_rng(7).permutation(np.arange(1.0, 1001.0))
    found = quantiles.difference(np.zeros(1000), rows, 0.99)
    assert 982.0 < found.low < 984.0, "984 rows below p99 are exact at 2.5 %"
    assert 995.0 < found.high < 997.0, "and 996"


def test_failures_within_the_reach_of_one_arm_open_its_side_alone() -> None:
    rng = np.random.default_rng(8)
    before = rng.lognormal(0, 0.3, 1000)
    after = before * rng.lognormal(0, 0.1, 1000)
    after[rng.choice(1000, 7, replace=False)] = math.inf
    found = quantiles.difference(before, after, 0.99, paired=True)
    assert found.high == math.inf
    assert math.isfinite(found.low)
    assert math.isfinite(found.estimate)


def test_the_examples_hold() -> None:
    assert doctest.testmod(quantiles).failed == 0


def test_a_quantile_that_falls_on_failures_is_infinite_and_two_such_say_nothing() -> None:
    fine, broken = np.linspace(0.1, 0.2, 400), np.linspace(0.1, 0.2, 400)
    broken[:60] = math.inf
    worse = quantiles.difference(fine, broken, 0.95)
    assert (worse.estimate, worse.low, worse.high) == (math.inf, math.inf, math.inf)
    assert quantiles.difference(fine, broken, 0.5).high < 0.1
    both = quantiles.difference(broken, broken, 0.95)
    assert (both.low, both.high) == (-math.inf, math.inf)
    assert both.note is not None


def test_few_rows_are_marked_too_few() -> None:
    rows = np.linspace(0.1, 0.2, 200)
    assert quantiles.difference(rows, rows + 0.1, 0.99).too_small
    assert not quantiles.difference(rows, rows + 0.1, 0.95).too_small


def test_arms_that_do_not_pair_and_missing_values_are_refused() -> None:
    with pytest.raises(PairingError, match="paired arms have 3 and 2 rows"):
        quantiles.difference([1, 2, 3], [1, 2], 0.5, paired=True)
    with pytest.raises(StatisticsError, match="none of them NaN"):
        quantiles.difference([1, math.nan], [1, 2], 0.5)


def test_gaps_of_one_answer_count_as_one_answer() -> None:
    rng = np.random.default_rng(4)
    each = rng.lognormal(-4, 0.5, 200).astype(np.float32)
    gaps = np.repeat(each, 50)
    offsets = np.arange(0, len(gaps) + 1, 50)
    pooled = quantiles.pooled_interval(np.sort(gaps), gaps, offsets, 0.5)
    alone = quantiles.pooled_interval(np.sort(each), each, np.arange(201), 0.5)
    assert pooled.low == pytest.approx(alone.low, rel=0.05)
    assert pooled.high == pytest.approx(alone.high, rel=0.05)
    assert pooled.n_groups == 200
