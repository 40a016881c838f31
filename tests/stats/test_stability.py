from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.stability import (
    flips_by_example,
    outlier_runs,
    pass_at_k,
    pass_hat_k,
    repeat_flips_by_example,
    total_agreement,
    variance_components,
    worst_and_best,
)


def test_published_total_agreement_and_spread(table: Callable[[str], list[dict[str, str]]]) -> None:
    runs = table("stability_gpt35_runs.csv")
    for published in table("stability_gpt35_published.csv"):
        rows = [row for row in runs if row["group"] == published["group"]]
        items = [row["item"] for row in rows]
        raw = total_agreement([row["response_sha"] for row in rows], items)
        assert round(250 * raw.estimate) == int(published["TACr"])
        assert raw.n == 250


def test_cruxeval_pass_at_k_to_the_last_digit(cruxeval: NDArray[np.float64]) -> None:
    successes = cruxeval.sum(axis=1)
    assert 100 * pass_at_k(successes, 10, 1).mean() == pytest.approx(35.95, abs=1e-9)
    assert 100 * pass_at_k(successes, 10, 5).mean() == pytest.approx(44.991071, abs=5e-7)


def test_cruxeval_variance_within_and_between(cruxeval: NDArray[np.float64]) -> None:
    found = variance_components(cruxeval.ravel(), np.repeat(np.arange(800), 10))
    within = float(cruxeval.var(axis=1, ddof=1).mean())
    between = float(cruxeval.mean(axis=1).var(ddof=1)) - within / 10
    assert (found.within, found.between) == pytest.approx((within, between))
    # The share of pairs of repeats that differ is twice the variance within.
    flips = repeat_flips_by_example(cruxeval.ravel(), np.repeat(np.arange(800), 10))
    assert flips.mean() == pytest.approx(2 * within)
    assert found.se(800, 10) == pytest.approx(float(cruxeval.mean(axis=1).std(ddof=1)) / math.sqrt(800))
    assert not found.more_repeats_pay


def test_pass_at_k_is_the_share_of_subsets() -> None:
    for successes in range(7):
        for k in range(1, 7):
            some = 1 - math.comb(6 - successes, k) / math.comb(6, k)
            every = math.comb(successes, k) / math.comb(6, k)
            assert pass_at_k([successes], 6, k)[0] == pytest.approx(some, abs=1e-14)
            assert pass_hat_k([successes], 6, k)[0] == pytest.approx(every, abs=1e-14)
    with pytest.raises(StatisticsError, match="fewest attempts 3"):
        pass_at_k([1, 2], [10, 3], 5)


def test_a_missing_answer_is_a_disagreement() -> None:
    assert total_agreement(["a", None, None, None], [1, 1, 2, 2]).estimate == 0.0
    assert repeat_flips_by_example([None, None], [1, 1]).tolist() == [1.0]
    flips = flips_by_example(["a", None], ["a", None], before_examples=[1, 2], after_examples=[1, 2])
    assert flips.tolist() == [0.0, 1.0]


def test_agreement_is_compared_at_equal_n_only() -> None:
    with pytest.raises(StatisticsError, match="Example 2 has 1 answers and others up to 2"):
        total_agreement(["a", "a", "b"], [1, 1, 2])


def test_the_flip_rate_of_equal_arms_is_the_rate_between_repeats() -> None:
    rng = np.random.default_rng(0)
    shares = rng.random(4000)
    answers = (rng.random((4000, 6)) < shares[:, None]).astype(int)
    owners = np.repeat(np.arange(4000), 3)
    same = repeat_flips_by_example(answers[:, :3].ravel(), owners).mean()
    cross = flips_by_example(
        answers[:, :3].ravel(), answers[:, 3:].ravel(), before_examples=owners, after_examples=owners
    ).mean()
    assert same == pytest.approx(1 / 3, abs=0.02)
    assert cross == pytest.approx(same, abs=0.02)


def test_arms_with_other_examples_are_refused() -> None:
    with pytest.raises(PairingError, match="Example 2 is in one arm only"):
        flips_by_example(["a", "b"], ["a"], before_examples=[1, 2], after_examples=[1])


def test_llmdrift_mismatch_is_reproduced(table: Callable[[str], list[dict[str, str]]]) -> None:
    rows = table("llmdrift_sensitive.csv")
    for old, new, share in (
        ("gpt-4-0314", "gpt-4-0613", 0.16),
        ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613", 0.06),
    ):
        arms = [[row for row in rows if row["model"] == model] for model in (old, new)]
        flips = flips_by_example(
            [row["answered"] for row in arms[0]],
            [row["answered"] for row in arms[1]],
            before_examples=[row["id"] for row in arms[0]],
            after_examples=[row["id"] for row in arms[1]],
        )
        assert flips.mean() == pytest.approx(share)


def test_worst_and_best_reproduce_the_published_counts(table: Callable[[str], list[dict[str, str]]]) -> None:
    runs = [
        row for row in table("stability_gpt35_runs.csv") if row["group"].startswith("navigate|2024-12-15")
    ]
    truth = [row["gt"].lower() for row in runs]
    answers = [re.findall(r"answer is\W*(\w+)", row["response_tail"].lower()) for row in runs]
    correct = [
        float(bool(found) and found[-1] in wanted) for found, wanted in zip(answers, truth, strict=True)
    ]
    found = worst_and_best(correct, [row["item"] for row in runs])
    assert found.worst <= found.mean <= found.best
    assert found.n == 250


def test_variance_components_recover_the_truth_and_need_repeats() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 2, (3000, 1)) + rng.normal(0, 1, (3000, 4))
    found = variance_components(values.ravel(), np.repeat(np.arange(3000), 4))
    assert (found.between, found.within, found.icc) == pytest.approx((4, 1, 0.8), rel=0.08)
    with pytest.raises(StatisticsError, match="at most 1 repeats"):
        variance_components([1.0, 2.0], ["a", "b"])


def test_outlier_runs_are_flagged_even_when_most_runs_are_equal() -> None:
    assert outlier_runs([0.8, 0.8, 0.8, 0.8, 0.8, 0.5]).tolist() == [False] * 5 + [True]
    assert not outlier_runs([0.8] * 5).any()
    assert not outlier_runs([0.80, 0.81, 0.79, 0.82]).any()
