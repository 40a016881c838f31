from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from ratchet.errors import StatisticsError
from ratchet.stats.binary import mcnemar_exact, mcnemar_midp, tango_interval, tango_p, tango_score


def restricted_loss_rate(losses: int, gains: int, n: int, difference: float) -> float:
    """The restricted maximum-likelihood loss rate, by brute force instead of the closed form."""

    def minus_log_likelihood(rate: float) -> float:
        same = 1.0 - 2.0 * rate - difference
        terms = ((gains, rate + difference), (losses, rate), (n - gains - losses, same))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    low, high = max(0.0, -difference), min(1.0, (1.0 - difference) / 2.0)
    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    return float(found.x)


@pytest.mark.parametrize(
    ("losses", "gains", "n", "difference"),
    [(1, 7, 21, 0.1), (5, 6, 100, -0.1), (12, 3, 40, 0.05), (4, 0, 30, -0.3)],
)
def test_the_score_uses_the_restricted_maximum_likelihood(
    losses: int, gains: int, n: int, difference: float
) -> None:
    rate = restricted_loss_rate(losses, gains, n, difference)
    expected = (gains - losses - n * difference) / math.sqrt(n * (2 * rate + difference * (1 - difference)))
    assert tango_score(losses, gains, n, difference) == pytest.approx(expected, rel=1e-4)


def test_the_published_airway_example_is_reproduced() -> None:
    # Fagerland, Lydersen, Laake, Statistics in Medicine 2014, 33:2850-2875: 1 and 7 discordant of 21 pairs.
    found = tango_interval(1, 7, 21)
    assert (round(found.low, 3), round(found.high, 3)) == (0.026, 0.517)
    assert round(mcnemar_midp(1, 7), 4) == 0.0391
    assert round(mcnemar_exact(1, 7), 4) == 0.0703


@pytest.mark.parametrize("n", [1, 2, 5, 20, 100, 5000])
def test_without_discordant_pairs_the_interval_is_the_closed_form(n: int) -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    found = tango_interval(0, 0, n)
    assert found.high == pytest.approx(z2 / (n + z2), abs=1e-9)
    assert found.low == pytest.approx(-found.high, abs=1e-12)
    assert found.p == 1.0


def test_every_table_up_to_six_pairs_gives_an_interval_around_its_estimate() -> None:
    for n in range(1, 7):
        for losses in range(n + 1):
            for gains in range(n + 1 - losses):
                found = tango_interval(losses, gains, n)
                assert -1.0 <= found.low <= found.estimate <= found.high <= 1.0
                assert found.low < found.high


def test_swapping_the_arms_mirrors_the_interval() -> None:
    one, other = tango_interval(3, 9, 40, level=0.9), tango_interval(9, 3, 40, level=0.9)
    assert one.low == pytest.approx(-other.high, abs=1e-12)
    assert one.high == pytest.approx(-other.low, abs=1e-12)


def test_the_limits_are_where_the_score_test_has_its_level() -> None:
    found = tango_interval(4, 11, 60, level=0.9)
    assert tango_p(4, 11, 60, null=found.low, alternative="greater") == pytest.approx(0.05, abs=1e-9)
    assert tango_p(4, 11, 60, null=found.high, alternative="less") == pytest.approx(0.05, abs=1e-9)
    assert tango_p(4, 11, 60, null=found.low) == pytest.approx(0.10, abs=1e-9)


@pytest.mark.parametrize(("losses", "gains"), [(0, 5), (3, 8), (10, 10), (40, 22)])
def test_exact_and_mid_p_are_the_binomial_formulas(losses: int, gains: int) -> None:
    n, least = losses + gains, min(losses, gains)
    assert mcnemar_exact(losses, gains) == pytest.approx(stats.binomtest(least, n).pvalue)
    midp = 2 * stats.binom.cdf(least, n, 0.5) - stats.binom.pmf(least, n, 0.5)
    assert mcnemar_midp(losses, gains) == pytest.approx(min(1.0, midp))
    assert mcnemar_exact(losses, gains, alternative="greater") == pytest.approx(
        stats.binomtest(gains, n, alternative="greater").pvalue
    )


def test_impossible_counts_are_refused_with_their_values() -> None:
    with pytest.raises(StatisticsError, match="7 losses and 5 gains among 10 pairs"):
        tango_interval(7, 5, 10)


def test_coverage_holds_at_small_n_with_few_disagreements() -> None:
    rng = np.random.default_rng(0)
    for n in (20, 50, 100):
        counts = rng.multinomial(n, [0.045, 0.065, 0.89], size=1500)
        cache: dict[tuple[int, int], tuple[float, float]] = {}
        inside = 0
        for losses, gains, _ in counts.tolist():
            if (losses, gains) not in cache:
                found = tango_interval(losses, gains, n)
                cache[losses, gains] = (found.low, found.high)
            inside += cache[losses, gains][0] <= 0.02 <= cache[losses, gains][1]
        assert inside / 1500 > 0.93
