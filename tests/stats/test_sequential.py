from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate

from ratchet.errors import StatisticsError
from ratchet.stats.sequential import (
    always_valid_p,
    anytime_interval,
    asymptotic_difference,
    asymptotic_interval,
    asymptotic_sequence,
    betting_interval,
    discordant_e_value,
    empirical_bernstein,
    first_exclusion,
)

LOOKS = np.arange(40, 801, 20) - 1


@pytest.mark.parametrize(("losses", "gains"), [(0, 0), (2, 16), (7, 5), (30, 61)])
def test_the_e_value_is_the_mixture_integral(losses: int, gains: int) -> None:
    def likelihood_ratio(angle: float) -> float:
        share = math.sin(angle) ** 2
        return (2 * share) ** gains * (2 * (1 - share)) ** losses * 2 / math.pi

    # With share = sin^2, the Beta(1/2, 1/2) density is flat in the angle.
    both = integrate.quad(likelihood_ratio, 0, math.pi / 2, limit=200)[0]
    upper = 2 * integrate.quad(likelihood_ratio, math.pi / 4, math.pi / 2, limit=200)[0]
    assert discordant_e_value(losses, gains) == pytest.approx(both, rel=1e-6)
    assert discordant_e_value(losses, gains, alternative="greater") == pytest.approx(upper, rel=1e-6)
    assert discordant_e_value(gains, losses, alternative="less") == pytest.approx(upper, rel=1e-6)


def test_the_e_value_is_a_martingale_under_the_null_and_survives_large_counts() -> None:
    expected = 0.5 * (discordant_e_value(4, 9) + discordant_e_value(5, 8))
    assert expected == pytest.approx(discordant_e_value(4, 8))
    assert math.isfinite(discordant_e_value(100_000, 100_300))
    assert discordant_e_value(0, 100_000) == math.inf
    assert always_valid_p(discordant_e_value(3, 3)) == 1.0
    assert always_valid_p(40.0) == 0.025


def aa_differences(cruxeval: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    sides = rng.random(800) < 0.5
    difference = cruxeval[:, 7] - cruxeval[:, 0]
    return rng.permutation(np.where(sides, difference, -difference))


def test_39_looks_at_equal_arms_raise_few_false_alarms(cruxeval: NDArray[np.float64]) -> None:
    rng, rounds = np.random.default_rng(0), 300
    alarms = {"fixed": 0, "asymptotic": 0, "e-value": 0, "bernstein": 0}
    for _ in range(rounds):
        d = aa_differences(cruxeval, rng)
        n = LOOKS + 1
        mean, square = np.cumsum(d)[LOOKS] / n, np.cumsum(d**2)[LOOKS] / n
        alarms["fixed"] += bool((np.abs(mean) > 1.96 * np.sqrt((square - mean**2) / n)).any())
        running = asymptotic_sequence(d)
        alarms["asymptotic"] += bool(((running.low[LOOKS] > 0) | (running.high[LOOKS] < 0)).any())
        counts = zip(np.cumsum(d < 0)[LOOKS].tolist(), np.cumsum(d > 0)[LOOKS].tolist(), strict=True)
        alarms["e-value"] += any(discordant_e_value(losses, gains) >= 20 for losses, gains in counts)
        bounded = empirical_bernstein(d, bounds=(-1.0, 1.0))
        alarms["bernstein"] += bool((bounded.low[-1] > 0) or (bounded.high[-1] < 0))
    assert alarms["fixed"] / rounds > 0.15
    assert max(alarms["asymptotic"], alarms["e-value"], alarms["bernstein"]) / rounds <= 0.05


def test_betting_holds_at_every_look_and_is_tighter_than_bernstein() -> None:
    rng, missed, widths = np.random.default_rng(1), 0, [0.0, 0.0]
    for _ in range(150):
        values = rng.beta(2, 3, 400)
        found = betting_interval(values)
        other = empirical_bernstein(values)
        missed += found.excludes(0.4)
        widths[0] += found.high - found.low
        widths[1] += float(other.high[-1] - other.low[-1])
    assert missed / 150 <= 0.05
    assert widths[0] < widths[1]


def test_the_betting_interval_is_the_intersection_of_all_looks() -> None:
    values = np.concatenate([np.ones(60), np.zeros(60)])
    early, late = betting_interval(values[:60]), betting_interval(values)
    assert late.low >= early.low - 1e-9
    assert late.note is None or "drifted" in late.note


def test_constant_values_at_a_bound_are_legal() -> None:
    assert betting_interval([1.0] * 200).low > 0.9
    assert betting_interval([0.0] * 200, bounds=(-1.0, 1.0)).excludes(0.5)


def test_nothing_is_decided_before_the_burn_in() -> None:
    values = np.random.default_rng(2).normal(5, 1, 100)
    assert asymptotic_interval(values[:49], planned_n=100).high == math.inf
    assert asymptotic_interval(values[:50], planned_n=100).excludes(0.0)
    with pytest.raises(StatisticsError, match="burn_in is 10"):
        asymptotic_interval(values, planned_n=100, burn_in=10)


def test_one_look_and_the_whole_sequence_agree() -> None:
    values = np.random.default_rng(3).normal(1e6, 1, 300)
    running, look = asymptotic_sequence(values, planned_n=300), asymptotic_interval(values, planned_n=300)
    assert (running.low[-1], running.high[-1]) == pytest.approx((look.low, look.high), rel=1e-9)


def test_independent_arms_and_groups_widen_as_they_should() -> None:
    rng = np.random.default_rng(4)
    before, after = rng.random(300), rng.random(300) + 0.5
    found = asymptotic_difference(before, after, planned_n=600)
    assert found.excludes(0.0)
    assert asymptotic_difference(before[:30], after, planned_n=600).high == math.inf
    users = np.repeat(np.arange(60), 5)
    grouped = asymptotic_interval(rng.normal(0, 1, 60)[users], planned_n=60, groups=users)
    assert grouped.n_groups == 60
    assert grouped.high - grouped.low > asymptotic_interval(rng.normal(0, 1, 300), planned_n=300).high


def test_the_choice_follows_from_bounds_and_groups() -> None:
    values = np.zeros(100)
    values[:10] = 1.0
    assert anytime_interval(values, planned_n=200, bounds=(-1.0, 1.0)).method.startswith("betting")
    grouped = anytime_interval(values, planned_n=200, bounds=(-1.0, 1.0), groups=np.arange(100) // 2)
    assert grouped.method.startswith("asymptotic")


def test_the_first_look_that_excludes_is_found() -> None:
    assert (
        first_exclusion([0.0, 0.0] * 20, [10, 40], lambda seen: betting_interval(seen, bounds=(-1, 1)))
        is None
    )


def test_values_outside_the_bounds_are_refused() -> None:
    with pytest.raises(StatisticsError, match="within the bounds 0 to 1"):
        betting_interval([0.5, 1.5])
