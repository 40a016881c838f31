from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.binary import mcnemar_midp, tango_interval
from ratchet.stats.paired import mean_interval, paired_difference

RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(2).bit_generator.state


BEFORE = RNG.normal(0, 1, 150)
AFTER = 0.8 * BEFORE + RNG.normal(0.2, 0.5, 150)


def test_single_yes_no_outcomes_get_tango_and_mid_p() -> None:
    before, after = [1, 1, 1, 0, 0] * 20, [1, 1, 0, 0, 1] * 20
    found, tango = paired_difference(before, after), tango_interval(20, 20, 100)
    assert (found.method, found.low, found.high) == ("Tango score interval", tango.low, tango.high)
    assert (found.p, found.p_method) == (mcnemar_midp(20, 20), "McNemar mid-p")


def test_continuous_scores_get_the_paired_t() -> None:
    found = paired_difference(BEFORE, AFTER)
    expected = stats.ttest_rel(AFTER, BEFORE)
    limits = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx(
        (limits.low, limits.high, float(np.asarray(expected)[1]))
    )
    assert found.method == "paired t"


def test_below_100_examples_the_p_value_is_a_permutation() -> None:
    found = paired_difference(BEFORE[:60], AFTER[:60])
    assert (found.method, found.p_method) == ("paired t", "sign-flip permutation")


def test_repeats_are_averaged_first_and_narrow_nothing_by_themselves() -> None:
    once = paired_difference(BEFORE, AFTER)
    tripled = paired_difference(
        np.repeat(BEFORE, 3), np.repeat(AFTER, 3), examples=np.repeat(np.arange(150), 3)
    )
    assert (tripled.low, tripled.high, tripled.n, tripled.n_rows) == pytest.approx(
        (once.low, once.high, 150, 450)
    )


def test_duplicated_rows_as_a_group_do_not_narrow_the_interval() -> None:
    once = paired_difference(BEFORE, AFTER)
    doubled = paired_difference(np.tile(BEFORE, 2), np.tile(AFTER, 2), groups=np.tile(np.arange(150), 2))
    assert doubled.high - doubled.low == pytest.approx(once.high - once.low)
    assert doubled.n_groups == 150


def test_shuffled_rows_give_the_same_answer() -> None:
    order = RNG.permutation(450)
    examples = np.array([f"e{i // 3}" for i in range(450)])
    groups = np.array([f"g{i // 15}" for i in range(450)])
    before, after = np.repeat(BEFORE, 3) + RNG.normal(0, 0.1, 450), np.repeat(AFTER, 3)
    straight = paired_difference(before, after, examples=examples, groups=groups)
    shuffled = paired_difference(before[order], after[order], examples=examples[order], groups=groups[order])
    assert (shuffled.low, shuffled.high, shuffled.p) == pytest.approx(
        (straight.low, straight.high, straight.p), rel=1e-9
    )


def test_swapped_arms_mirror_and_scaled_scores_scale() -> None:
    found, swapped = paired_difference(BEFORE, AFTER), paired_difference(AFTER, BEFORE)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    scaled = paired_difference(BEFORE * 1000, AFTER * 1000)
    assert (scaled.low, scaled.high) == pytest.approx((found.low * 1000, found.high * 1000))


def test_fewer_than_30_groups_get_cr2_and_more_cr1() -> None:
    assert paired_difference(BEFORE, AFTER, groups=np.arange(150) % 15).method == "cluster-robust t (CR2)"
    assert paired_difference(BEFORE, AFTER, groups=np.arange(150) % 50).method == "cluster-robust t (CR1)"


def test_too_small_is_said_below_20_examples_and_below_10_groups() -> None:
    assert paired_difference(BEFORE[:19], AFTER[:19]).too_small
    assert not paired_difference(BEFORE[:20], AFTER[:20]).too_small
    assert paired_difference(BEFORE, AFTER, groups=np.arange(150) % 9).too_small
    assert not paired_difference(BEFORE, AFTER, groups=np.arange(150) % 10).too_small
    one_group = paired_difference(BEFORE, AFTER, groups=["all"] * 150)
    assert (one_group.low, one_group.high, one_group.too_small, one_group.p) == (
        -math.inf,
        math.inf,
        True,
        1.0,
    )


def test_repeats_without_any_disagreement_are_not_called_certain() -> None:
    ones = np.ones(100)
    found = paired_difference(ones, ones, examples=np.arange(100) // 2)
    assert found.low < -0.02 < 0.02 < found.high
    assert found.method == "Tango score interval, effective n"


def test_repeats_that_always_agree_are_worth_one_answer_each() -> None:
    before, after = np.array([1.0, 1.0, 0.0, 1.0] * 15), np.array([1.0, 0.0, 1.0, 1.0] * 15)
    once = paired_difference(before, after)
    found = paired_difference(before.repeat(3), after.repeat(3), examples=np.arange(60).repeat(3))
    assert (found.low, found.high) == pytest.approx((once.low, once.high))
    assert (found.n, found.n_rows) == (60, 180)


def test_repeats_that_disagree_narrow_the_interval_and_leave_the_estimate() -> None:
    before = np.ones(120)
    after = np.array([0.0, 1.0, 1.0] * 10 + [1.0] * 90)
    found = paired_difference(before, after, examples=np.arange(120) // 3)
    agreeing = paired_difference(before[::3], after[::3])
    assert found.estimate == pytest.approx(-10 / 120)
    assert found.high - found.low < agreeing.high - agreeing.low


def test_repeated_outcomes_are_tested_by_the_test_that_the_interval_inverts() -> None:
    rng = np.random.default_rng(4)
    before, after = (rng.random(150) < 0.8).astype(float), (rng.random(150) < 0.7).astype(float)
    examples = np.arange(150) // 3
    found = paired_difference(before, after, examples=examples, level=0.9)
    for null in (found.low, found.high):
        side = "greater" if null == found.low else "less"
        p = paired_difference(before, after, examples=examples, null=null, alternative=side).p
        assert p == pytest.approx(0.05, abs=1e-6)


def test_scores_that_are_mostly_tied_are_not_called_certain() -> None:
    before, after = np.full(50, 0.75), np.full(50, 0.75)
    after[:2] = 0.25
    found = paired_difference(before, after)
    assert found.method == "paired t, two pseudo-units"
    assert found.high > 0
    scaled = paired_difference(1e-9 * before, 1e-9 * after)
    assert (scaled.low, scaled.high) == pytest.approx((1e-9 * found.low, 1e-9 * found.high))
    same = paired_difference(before, before)
    assert (same.low, same.high, same.method) == (0.0, 0.0, "paired t")
    assert same.note is not None


def test_a_null_moves_the_test_and_not_the_interval() -> None:
    margin = paired_difference(BEFORE, AFTER, null=-0.1, alternative="greater", level=0.9)
    assert margin.p == pytest.approx(
        float(np.asarray(stats.ttest_1samp(AFTER - BEFORE, -0.1, alternative="greater"))[1])
    )
    assert (margin.low, margin.high) == (
        paired_difference(BEFORE, AFTER, level=0.9).low,
        paired_difference(BEFORE, AFTER, level=0.9).high,
    )
    binary = paired_difference([1, 0] * 50, [1, 1] * 50, null=0.3, alternative="greater", level=0.9)
    assert binary.p is not None
    assert (binary.p < 0.05) == (binary.low > 0.3)


def test_skewed_differences_are_flagged() -> None:
    costs = np.random.default_rng(0).lognormal(0, 1.5, 60)
    assert paired_difference(np.zeros(60), costs).skewed
    assert not paired_difference(BEFORE, AFTER).skewed


def test_rows_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(PairingError, match="2 and 3 rows"):
        paired_difference([1, 0], [1, 0, 1])
    with pytest.raises(PairingError, match="Example 'a' lies in two groups"):
        paired_difference([1, 0], [1, 0], examples=["a", "a"], groups=["x", "y"])
    with pytest.raises(StatisticsError, match=r"after\[1\] is nan"):
        paired_difference([1, 0], [1, float("nan")])


def test_bbh_clustered_by_task_is_much_wider(
    bbh: tuple[NDArray[np.float64], NDArray[np.float64], list[str]],
) -> None:
    direct, cot, tasks = bbh
    by_task = {task: 100 * cot[[t == task for t in tasks]].mean() for task in set(tasks)}
    assert {task: round(value, 1) for task, value in by_task.items()} == {
        "causal_judgement": 54.0,
        "date_understanding": 87.2,
        "navigate": 96.4,
        "snarks": 59.6,
    }
    plain, clustered = paired_difference(direct, cot), paired_difference(direct, cot, groups=tasks)
    assert plain.low > 0
    assert clustered.low < 0
    assert clustered.too_small


def test_llmdrift_published_shares_and_drops(table: Callable[[str], list[dict[str, str]]]) -> None:
    for file, column, old, new, expected in (
        ("llmdrift_leetcode.csv", "directly_executable", "gpt-4-0314", "gpt-4-0613", (0.52, 0.10)),
        ("llmdrift_sensitive.csv", "answered", "gpt-4-0314", "gpt-4-0613", (0.21, 0.05)),
    ):
        rows = table(file)
        arms = [{r["id"]: float(r[column]) for r in rows if r["model"] == model} for model in (old, new)]
        before, after = [np.array([arm[key] for key in sorted(arms[0])]) for arm in arms]
        assert (before.mean(), after.mean()) == pytest.approx(expected)
        found = paired_difference(before, after, level=0.9)
        assert found.high < 0


@pytest.mark.parametrize(("n", "least"), [(20, 0.93), (50, 0.93), (100, 0.93)])
def test_coverage_on_recorded_pairs(
    n: int,
    least: float,
    cruxeval: NDArray[np.float64],
    bbh: tuple[NDArray[np.float64], NDArray[np.float64], list[str]],
) -> None:
    rng = np.random.default_rng(n)
    for before, after in ((cruxeval[:, 0], cruxeval[:, 7]), bbh[:2]):
        truth, inside = float((after - before).mean()), 0
        for _ in range(500):
            rows = rng.integers(0, len(before), n)
            inside += not paired_difference(before[rows], after[rows]).excludes(truth)
        assert inside / 500 > least - 0.015


@pytest.mark.parametrize("n", [20, 50, 100, 300])
def test_coverage_with_repeats_and_few_disagreements(n: int, cruxeval: NDArray[np.float64]) -> None:
    rng, inside = np.random.default_rng(n), 0
    for _ in range(500):
        rows = rng.permuted(cruxeval[rng.integers(0, 800, n)], axis=1)
        examples = np.repeat(np.arange(n), 3)
        found = paired_difference(rows[:, :3].ravel(), rows[:, 3:6].ravel(), examples=examples)
        inside += not found.excludes(0.0)
    assert inside / 500 > 0.93


def test_one_arm_repeats_and_groups_are_respected() -> None:
    exact = mean_interval([1.0] * 50)
    repeated = mean_interval([1.0] * 150, examples=np.repeat(np.arange(50), 3))
    assert (exact.low, exact.high) == pytest.approx((repeated.low, repeated.high))
    assert 0.9 < exact.low < 0.95
    grouped = mean_interval(BEFORE, groups=np.arange(150) // 10)
    assert (grouped.method, grouped.n_groups) == ("cluster-robust t (CR2)", 15)
