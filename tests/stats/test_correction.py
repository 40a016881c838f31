from __future__ import annotations

import numpy as np
import pytest

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.correction import ppi_difference, ppi_mean, rogan_gladen
from ratchet.stats.means import t_interval


def test_rogan_gladen_undoes_a_judge_with_known_errors() -> None:
    found = rogan_gladen(
        judged_positive=700, judged=1000, true_positives=90, positives=100, true_negatives=80, negatives=100
    )
    assert found.estimate == pytest.approx((0.7 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.note is None


def test_rogan_gladen_covers_the_truth() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(800):
        found = rogan_gladen(
            judged_positive=int(rng.binomial(500, 0.9 * 0.85 + 0.1 * 0.2)),
            judged=500,
            true_positives=int(rng.binomial(60, 0.85)),
            positives=60,
            true_negatives=int(rng.binomial(40, 0.8)),
            negatives=40,
        )
        assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
        inside += not found.excludes(0.9)
    assert inside / 800 > 0.93


def test_a_weak_judge_is_warned_of_and_a_useless_one_refused() -> None:
    weak = rogan_gladen(
        judged_positive=50, judged=100, true_positives=60, positives=100, true_negatives=60, negatives=100
    )
    assert weak.note is not None
    assert "unstable" in weak.note
    with pytest.raises(StatisticsError, match="no better than chance"):
        rogan_gladen(
            judged_positive=5, judged=10, true_positives=5, positives=10, true_negatives=5, negatives=10
        )


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    truth = (rng.random(n) < 0.7).astype(float)
    return truth, np.where(rng.random(n) < 0.9, truth, 1.0)


def test_ppi_covers_with_a_biased_judge_and_beats_the_labels_alone() -> None:
    rng, inside, narrower = np.random.default_rng(1), 0, 0
    for _ in range(600):
        truth, judged = draw(rng, 1080)
        found, labels = ppi_mean(truth[:80], judged[:80], judged[80:]), t_interval(truth[:80])
        inside += not found.excludes(0.7)
        narrower += found.high - found.low < labels.high - labels.low
    assert inside / 600 > 0.94
    assert narrower / 600 > 0.9


def test_a_judge_that_rarely_errs_is_not_taken_for_perfect() -> None:
    rng, inside = np.random.default_rng(7), 0
    for _ in range(400):
        truth = (rng.random(1030) < 0.7).astype(float)
        judged = np.where(rng.random(1030) < 0.9, truth, 1.0)
        inside += not ppi_mean(truth[:30], judged[:30], judged[30:]).excludes(0.7)
    assert inside / 400 > 0.95


def test_a_judge_of_noise_costs_next_to_nothing() -> None:
    rng = np.random.default_rng(2)
    truth, noise = rng.normal(0, 1, 100), rng.normal(0, 1, 1100)
    found, labels = ppi_mean(truth, noise[:100], noise[100:]), t_interval(truth)
    assert found.high - found.low < 1.05 * (labels.high - labels.low)


def test_the_tuned_lambda_is_the_papers_formula() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 1, 600)
    judged = truth + rng.normal(0, 0.5, 600)
    y, f, rest = truth[:100], judged[:100], judged[100:]
    weight = np.cov(y, f)[0, 1] / ((1 + 100 / 500) * judged.var())
    estimate = weight * rest.mean() + (y - weight * f).mean()
    variance = weight**2 * rest.var(ddof=1) / 500 + (y - weight * f).var(ddof=1) / 100
    found = ppi_mean(y, f, rest)
    assert found.estimate == pytest.approx(estimate)
    assert found.se == pytest.approx(np.sqrt(variance))


def test_below_30_labels_only_the_labels_count() -> None:
    truth, judged = draw(np.random.default_rng(4), 500)
    found, labels = ppi_mean(truth[:29], judged[:29], judged[29:]), t_interval(truth[:29])
    assert (found.low, found.high) == (labels.low, labels.high)
    assert found.note is not None
    assert "uncalibrated" in found.note


def test_the_difference_removes_a_bias_that_differs_between_arms() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(0, 1, 1000), rng.normal(0.3, 1, 1000)
    judged_before, judged_after = before + rng.normal(0, 0.3, 1000), after + 1.0 + rng.normal(0, 0.3, 1000)
    found = ppi_difference(
        (before[:200], after[:200]),
        (judged_before[:200], judged_after[:200]),
        (judged_before[200:], judged_after[200:]),
    )
    assert not found.excludes(0.3)
    assert found.excludes(1.3)


def test_groups_widen() -> None:
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(120), 5)
    truth = rng.normal(0, 1, 120)[groups] + rng.normal(0, 0.3, 600)
    judged = truth + rng.normal(0, 0.5, 600)
    plain = ppi_mean(truth[:200], judged[:200], judged[200:])
    grouped = ppi_mean(
        truth[:200], judged[:200], judged[200:], groups=groups[:200], unlabelled_groups=groups[200:]
    )
    assert grouped.high - grouped.low > 1.2 * (plain.high - plain.low)
    with pytest.raises(PairingError, match="3 labels and 2"):
        ppi_mean([1, 0, 1], [1, 0], [1])


def test_groups_with_labelled_and_unlabelled_items_cover_too() -> None:
    rng, inside = np.random.default_rng(8), 0
    groups = np.repeat(np.arange(60), 5)
    for _ in range(300):
        truth = rng.normal(0, 1, 60)[groups] + rng.normal(0, 0.3, 300)
        judged = truth + rng.normal(0, 1, 60)[groups] + rng.normal(0, 0.3, 300)
        labelled = rng.permutation(300) < 60
        y, f, rest = truth[labelled], judged[labelled], judged[~labelled]
        found = ppi_mean(y, f, rest, groups=groups[labelled], unlabelled_groups=groups[~labelled])
        inside += not found.excludes(0.0)
    assert inside / 300 > 0.93
