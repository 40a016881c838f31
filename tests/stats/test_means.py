from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ratchet.errors import StatisticsError
from ratchet.stats._arrays import sums_by
from ratchet.stats.means import (
    bca_interval,
    effective_groups,
    grouped_mean,
    sign_flip_p,
    t_interval,
    wild_cluster_interval,
)

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(11).bit_generator.state


VALUES = RNG.normal(0.3, 1.0, 40)
SIZES = RNG.integers(1, 9, 12)
GROUPS = np.repeat(np.arange(12), SIZES)
CLUSTERED = RNG.normal(0, 0.5, 12)[GROUPS] + RNG.normal(0.2, 1.0, len(GROUPS))


def test_the_t_interval_and_its_p_value_are_scipys() -> None:
    expected = stats.ttest_1samp(VALUES, 0.1)
    found = t_interval(VALUES, null=0.1)
    limits = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))
    assert found.p == pytest.approx(float(np.asarray(expected)[1]))
    one_sided = t_interval(VALUES, null=0.1, alternative="greater").p
    assert one_sided == pytest.approx(
        float(np.asarray(stats.ttest_1samp(VALUES, 0.1, alternative="greater"))[1])
    )


def sandwich(values: np.ndarray, groups: np.ndarray, cr2: bool) -> tuple[float, float]:
    """The regression form of CR1 or CR2 by matrices, and Bell and McCaffrey's degrees of freedom."""
    n, names = len(values), np.unique(groups)
    design = np.ones((n, 1))
    hat = np.full((n, n), 1.0 / n)
    residual = values - values.mean()
    meat, columns = 0.0, []
    for name in names:
        members = np.flatnonzero(groups == name)
        block = np.eye(len(members)) - hat[np.ix_(members, members)]
        if cr2:
            roots, vectors = np.linalg.eigh(block)
            adjust = vectors @ np.diag(roots**-0.5) @ vectors.T
        else:
            adjust = np.sqrt(len(names) / (len(names) - 1)) * np.eye(len(members))
        meat += float(design[members, 0] @ adjust @ residual[members]) ** 2
        columns.append((np.eye(n) - hat)[:, members] @ adjust @ design[members, 0] / n)
    stacked = np.column_stack(columns)
    roots = np.linalg.eigvalsh(stacked.T @ stacked)
    return float(np.sqrt(meat) / n), float(roots.sum() ** 2 / (roots**2).sum())


def test_cr1_and_cr2_are_the_regression_sandwiches() -> None:
    sums = sums_by(GROUPS, CLUSTERED, 12)
    sizes = np.bincount(GROUPS).astype(float)
    cr1, cr2 = grouped_mean(sums, sizes, "CR1"), grouped_mean(sums, sizes, "CR2")
    assert cr1.se == pytest.approx(sandwich(CLUSTERED, GROUPS, cr2=False)[0])
    assert cr1.df == 11
    assert (cr2.se, cr2.df) == pytest.approx(sandwich(CLUSTERED, GROUPS, cr2=True))


def test_the_cluster_formula_of_the_design_is_reproduced() -> None:
    residual = CLUSTERED - CLUSTERED.mean()
    sums = np.bincount(GROUPS, weights=residual)
    expected = np.sqrt(12 / 11 * (sums**2).sum() / len(CLUSTERED) ** 2)
    assert t_interval(CLUSTERED, groups=GROUPS, correction="CR1").se == pytest.approx(expected)


def test_groups_of_one_row_change_nothing() -> None:
    assert t_interval(VALUES, groups=[f"g{i}" for i in range(40)]) == t_interval(VALUES)


def test_one_dominant_group_counts_as_few() -> None:
    assert effective_groups(np.full(30, 4.0)) == pytest.approx(30.0)
    assert effective_groups(np.append(np.full(100, 1.0), 150.0)) < 5


def test_sign_flips_agree_with_scipys_permutation_test() -> None:
    few = VALUES[:10]
    expected = stats.permutation_test(
        (few, np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples"
    )
    assert sign_flip_p(few) == pytest.approx(expected.pvalue, abs=1e-12)
    greater = stats.permutation_test(
        (few, np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples", alternative="greater"
    )
    assert sign_flip_p(few, alternative="greater") == pytest.approx(greater.pvalue, abs=1e-12)


def test_sign_flips_at_larger_n_come_close_to_t_and_ignore_the_row_order() -> None:
    p = sign_flip_p(VALUES)
    assert p == pytest.approx(float(np.asarray(stats.ttest_1samp(VALUES, 0))[1]), abs=0.02)
    assert sign_flip_p(VALUES[::-1]) == p


def test_a_permutation_p_value_is_never_zero() -> None:
    assert sign_flip_p(np.arange(1.0, 41.0)) == 1 / 10_000


def test_sign_flips_turn_whole_groups() -> None:
    values = np.repeat([1.0, 2.0, 3.0], 10)
    assert sign_flip_p(values, groups=np.repeat([0, 1, 2], 10)) == 0.25


def test_bca_agrees_with_scipys() -> None:
    skewed = np.random.default_rng(3).exponential(1.0, 120)
    expected = stats.bootstrap((skewed,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    found = bca_interval(skewed, draws=9999)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_bca_falls_back_to_t_on_constant_values_and_says_so() -> None:
    found = bca_interval([0.25] * 40)
    assert (found.low, found.high, found.method) == (0.25, 0.25, "t")
    assert found.note is not None
    assert "t in place of BCa" in found.note


def test_the_wild_bootstrap_comes_close_to_cr2() -> None:
    wild = wild_cluster_interval(CLUSTERED, GROUPS)
    robust = t_interval(CLUSTERED, groups=GROUPS)
    assert wild.high - wild.low == pytest.approx(robust.high - robust.low, rel=0.25)
    with pytest.raises(StatisticsError, match="1 groups"):
        wild_cluster_interval(VALUES, ["all"] * 40)


def test_clustered_intervals_hold_their_level_where_naive_ones_do_not() -> None:
    rng, rounds = np.random.default_rng(4), 600
    inside = {"robust": 0, "naive": 0}
    for _ in range(rounds):
        sizes = rng.geometric(0.2, 25)
        groups = np.repeat(np.arange(25), sizes)
        values = rng.normal(0, 0.5, 25)[groups] + rng.normal(0, 1, len(groups))
        inside["robust"] += not t_interval(values, groups=groups).excludes(0.0)
        inside["naive"] += not t_interval(values).excludes(0.0)
    assert inside["robust"] / rounds > 0.92
    assert inside["naive"] / rounds < 0.88


@pytest.mark.parametrize("bad", [[], [[1.0]], [1.0, float("nan")], ["x"]])
def test_values_that_are_no_numbers_are_refused(bad: list[float]) -> None:
    with pytest.raises(StatisticsError):
        t_interval(bad)
