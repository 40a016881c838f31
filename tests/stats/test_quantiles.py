from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.bootstrap import resample_counts
from ratchet.stats.quantiles import (
    _drawn_quantiles,
    harrell_davis,
    quantile,
    quantile_difference,
    quantile_interval,
)

RNG = np.random.default_rng(6)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(6).bit_generator.state


BEFORE = RNG.lognormal(0, 0.5, 400)
AFTER = BEFORE * RNG.lognormal(-0.2, 0.2, 400)


def test_quantiles_are_numpys_and_harrell_davis_is_scipys() -> None:
    for q in (0.05, 0.5, 0.95, 0.99):
        assert quantile(BEFORE, q) == pytest.approx(float(np.quantile(BEFORE, q)), rel=1e-12)
        expected = float(stats.mstats.hdquantiles(BEFORE[:37], [q])[0])
        assert harrell_davis(BEFORE[:37], q) == pytest.approx(expected)


def test_llmperf_published_quantiles_to_the_last_digit(table: Callable[[str], list[dict[str, str]]]) -> None:
    requests = table("llmperf_requests.csv")
    for row in table("llmperf_published_summary.csv"):
        values = [float(r["ttft_s"]) for r in requests if r["run"] == row["run"]]
        for q in (25, 50, 75, 90, 95, 99):
            assert quantile(values, q / 100) == pytest.approx(
                float(row[f"results_ttft_s_quantiles_p{q}"]), rel=1e-12
            )


def test_failures_are_infinitely_slow_and_never_nan() -> None:
    third = np.where(np.arange(300) % 3 == 0, math.inf, 0.1)
    assert quantile(third, 0.5) == 0.1
    assert quantile(third, 0.95) == math.inf
    found = quantile_difference(np.full(300, 1.0), third, 0.95)
    assert (found.estimate, found.low, found.high) == (math.inf, math.inf, math.inf)
    both = quantile_difference(third, third, 0.95)
    assert (both.low, both.high) == (-math.inf, math.inf)
    assert both.note is not None


def test_a_provider_that_fails_a_third_of_its_calls_is_not_faster() -> None:
    slow = RNG.lognormal(0, 0.3, 600)
    fails = np.where(RNG.random(600) < 1 / 3, math.inf, 0.5 * slow)
    assert quantile_difference(slow, fails, 0.95).high == math.inf


def test_the_exact_interval_holds_and_needs_59_values_for_p95() -> None:
    assert quantile_interval(np.arange(58.0), 0.95, level=0.9).high == math.inf
    assert quantile_interval(np.arange(59.0), 0.95, level=0.9).high == 58.0
    assert quantile_interval(np.arange(298.0), 0.99, level=0.9).high == math.inf
    assert quantile_interval(np.arange(299.0), 0.99, level=0.9).high == 298.0
    rng = np.random.default_rng(0)
    for n, q in ((30, 0.5), (100, 0.95), (5000, 0.99)):
        inside = sum(not quantile_interval(rng.random(n), q).excludes(q) for _ in range(500))
        assert inside / 500 > 0.93


@pytest.mark.parametrize(("n", "q"), [(7, 0.5), (40, 0.9), (200, 0.95), (1000, 0.01), (100_000, 0.5)])
def test_the_exact_ranks_are_the_tightest_that_hold(n: int, q: float) -> None:
    found = quantile_interval(np.arange(1.0, n + 1), q)
    low = 0 if math.isinf(found.low) else int(found.low)
    high = n + 1 if math.isinf(found.high) else int(found.high)
    assert stats.binom.cdf(low - 1, n, q) <= 0.025 < stats.binom.cdf(low, n, q)
    assert stats.binom.sf(high - 1, n, q) <= 0.025 + 1e-12
    assert stats.binom.sf(high - 2, n, q) > 0.025 or high == 1


def test_groups_widen_the_interval() -> None:
    groups = np.arange(400) // 20
    level = np.random.default_rng(1).lognormal(0, 1, 20)[groups]
    wide, narrow = (
        quantile_interval(BEFORE * level, 0.5, groups=groups),
        quantile_interval(BEFORE * level, 0.5),
    )
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    spread = quantile_difference(BEFORE, BEFORE * level, 0.5, units=(groups, groups))
    rows = quantile_difference(BEFORE, BEFORE * level, 0.5)
    assert spread.high - spread.low > 1.3 * (rows.high - rows.low)
    assert spread.n_groups == 20


def test_the_fast_bootstrap_is_the_plain_one() -> None:
    rng = np.random.default_rng(5)
    plain = np.empty(2000)
    for draw in range(2000):
        rows = rng.integers(0, 400, 400)
        plain[draw] = np.quantile(AFTER[rows], 0.9) - np.quantile(BEFORE[rows], 0.9)
    found = quantile_difference(BEFORE, AFTER, 0.9)
    low, high = np.quantile(plain, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_each_draw_is_the_exact_quantile_of_the_resampled_rows() -> None:
    values = np.round(np.random.default_rng(0).lognormal(0, 1, 60), 1)
    values[:9] = math.inf
    blocks = np.arange(60) // 3
    weights = resample_counts(20, 200, np.random.default_rng(1))
    for q in (0.1, 0.5, 0.83, 0.95):
        drawn = _drawn_quantiles(values, blocks, weights, q)
        for draw, counts in zip(drawn.tolist(), weights.astype(int), strict=True):
            assert draw == pytest.approx(quantile(np.repeat(values, counts[blocks]), q))


def test_merged_blocks_give_the_same_width_as_single_rows() -> None:
    rng = np.random.default_rng(8)
    before = rng.lognormal(0, 0.5, 20_000)
    after = before * rng.lognormal(0, 0.3, 20_000)
    found = quantile_difference(before, after, 0.5, draws=1000)
    # Asymptotic standard error of the median difference by the influence of each row.
    pieces = []
    for values in (before, after):
        middle = np.median(values)
        density = np.mean(np.abs(values - middle) < 0.05) / 0.1
        pieces.append(((values <= middle) - 0.5) / density)
    expected = 2 * 1.96 * float(np.std(pieces[1] - pieces[0])) / math.sqrt(20_000)
    assert found.high - found.low == pytest.approx(expected, rel=0.12)


def test_paired_rows_are_narrower_than_independent_arms_and_row_order_is_nothing() -> None:
    paired, apart = (
        quantile_difference(BEFORE, AFTER, 0.5),
        quantile_difference(BEFORE, AFTER, 0.5, units="independent"),
    )
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)
    order = RNG.permutation(400)
    assert quantile_difference(BEFORE[order], AFTER[order], 0.5) == paired
    assert quantile_difference(BEFORE, AFTER[:300], 0.5, units="independent").n == 300


def test_scaling_scales_and_ratios_do_not_change() -> None:
    one, thousand = (
        quantile_difference(BEFORE, AFTER, 0.9),
        quantile_difference(1000 * BEFORE, 1000 * AFTER, 0.9),
    )
    assert (thousand.low, thousand.high) == pytest.approx((1000 * one.low, 1000 * one.high))
    ratios = [quantile_difference(k * BEFORE, k * AFTER, 0.9, scale="ratio") for k in (1, 1000)]
    assert (ratios[0].low, ratios[0].high) == pytest.approx((ratios[1].low, ratios[1].high))


@pytest.mark.parametrize(("n", "q"), [(100, 0.5), (300, 0.95)])
def test_coverage_of_the_difference(n: int, q: float) -> None:
    rng, inside = np.random.default_rng(n + 1), 0
    truth = 0.1 * math.exp(0.5 * stats.norm.ppf(q))
    for _ in range(150):
        shared, own = rng.normal(size=n), rng.normal(size=n)
        before, after = np.exp(0.5 * shared), 1.1 * np.exp(0.5 * (0.6 * shared + 0.8 * own))
        inside += not quantile_difference(before, after, q, draws=300).excludes(truth)
    assert inside / 150 > 0.92


def test_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PairingError, match="400 and 10 rows"):
        quantile_difference(BEFORE, AFTER[:10], 0.5)
    with pytest.raises(PairingError, match="10 and 400 units for 400 and 400 rows"):
        quantile_difference(BEFORE, AFTER, 0.5, units=(list(range(10)), list(range(400))))
    with pytest.raises(StatisticsError, match="q is 95"):
        quantile(BEFORE, 95)
    with pytest.raises(StatisticsError, match="is nan"):
        quantile([1.0, math.nan], 0.5)
