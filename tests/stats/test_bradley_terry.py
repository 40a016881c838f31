from __future__ import annotations

import itertools

import numpy as np
import pytest

from ratchet.errors import StatisticsError
from ratchet.stats.bradley_terry import bradley_terry


def test_two_variants_give_the_log_odds_of_the_win_rate() -> None:
    found = bradley_terry(["a"] * 40, ["b"] * 40, [1] * 30 + [0] * 10)
    assert found.names == ("a", "b")
    assert found.strengths[0].estimate - found.strengths[1].estimate == pytest.approx(np.log(3), abs=1e-6)
    assert found.win_probability("a", "b") == pytest.approx(0.75)


def play(
    strength: dict[str, float], items: int, seed: int
) -> tuple[list[str], list[str], list[float], list[int]]:
    rng = np.random.default_rng(seed)
    left, right, outcome, item = [], [], [], []
    for number in range(items):
        for one, other in itertools.combinations(strength, 2):
            wins = rng.random() < 1 / (1 + np.exp(strength[other] - strength[one]))
            left.append(one)
            right.append(other)
            outcome.append(0.5 if rng.random() < 0.1 else float(wins))
            item.append(number)
    return left, right, outcome, item


def test_the_maximum_of_the_likelihood_is_found() -> None:
    left, right, outcome, _ = play({"a": 1.0, "b": 0.0, "c": -0.5, "d": -0.5}, 60, 0)
    found = bradley_terry(left, right, outcome, draws=50)
    strength = {name: value.estimate for name, value in zip(found.names, found.strengths, strict=True)}
    # At the maximum each variant's expected wins equal its wins, ties counted half.
    for name in strength:
        won = expected = 0.0
        for one, other, result in zip(left, right, outcome, strict=True):
            if name in (one, other):
                won += result if name == one else 1 - result
                expected += found.win_probability(name, other if name == one else one)
        assert won == pytest.approx(expected, abs=1e-5)


def test_the_order_of_comparisons_does_not_matter() -> None:
    left, right, outcome, item = play({"a": 0.5, "b": 0.0, "c": -0.5}, 40, 1)
    order = np.random.default_rng(2).permutation(len(left)).tolist()
    shuffled = [[column[i] for i in order] for column in (left, right, outcome, item)]
    one = bradley_terry(left, right, outcome, items=item, draws=200)
    other = bradley_terry(shuffled[0], shuffled[1], shuffled[2], items=shuffled[3], draws=200)
    assert one.names == other.names
    assert [s.low for s in one.strengths] == pytest.approx([s.low for s in other.strengths])


def test_intervals_over_items_cover_the_truth() -> None:
    truth = {"a": 0.6, "b": 0.0, "c": -0.6}
    inside = 0
    for seed in range(60):
        left, right, outcome, item = play(truth, 80, seed)
        # A tenth of the results became ties, which shrinks strengths; compare with the fit of a long run instead.
        found = bradley_terry(left, right, outcome, items=item, draws=200)
        inside += sum(
            s.low <= 0.9 * truth[str(n)] <= s.high for n, s in zip(found.names, found.strengths, strict=True)
        )
    assert inside / 180 > 0.88


def test_variants_that_are_not_connected_are_named() -> None:
    with pytest.raises(StatisticsError, match="'a', 'b' and 'c', 'd' are not connected"):
        bradley_terry(["a", "b", "c", "d"], ["b", "a", "d", "c"], [1, 1, 1, 1])
    with pytest.raises(StatisticsError, match="not connected"):
        bradley_terry(["a", "a"], ["b", "b"], [1, 1])
    assert bradley_terry(["a", "a"], ["b", "b"], [1, 0.5], draws=20).names == ("a", "b")


def test_senseless_results_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"0, 0\.5 and 1"):
        bradley_terry(["a"], ["b"], [2])
    with pytest.raises(StatisticsError, match="compared with itself"):
        bradley_terry(["a"], ["a"], [1])
