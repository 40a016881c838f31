from __future__ import annotations

import numpy as np
import pytest

from ratchet.costs import traffic
from ratchet.costs.records import MONTH_S
from ratchet.errors import ConfigError, PlanError


@pytest.mark.parametrize(
    ("text", "calls"),
    [("1000", 1000.0), ("2M/month", 2e6), ("40k/day", 40_000 * 30.4375), ("5/s", 5 * MONTH_S), ("1_000/min", 1000 / 60 * MONTH_S),
     ("1e6", 1e6), ("1,500/hour", 1500 * MONTH_S / 3600)],
)  # fmt: skip
def test_a_stated_rate_becomes_calls_a_month(text: str, calls: float) -> None:
    assert traffic.stated(text).calls_per_month.value == pytest.approx(calls)


@pytest.mark.parametrize("text", ["", "many", "5/fortnight", "-3/s", "0/s", "5 per s", "1/s/s"])
def test_what_is_no_rate_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        traffic.stated(text)


def test_recorded_calls_give_a_rate_with_its_poisson_interval() -> None:
    found = traffic.counted(np.arange(0, 3600.0, 36.0), "calls.csv")
    calls = found.calls_per_month
    assert calls.value == pytest.approx(MONTH_S / 36)
    assert calls.low is not None
    assert calls.high is not None
    # exact Poisson limits of 99 events: 80.46 and 120.53
    assert (calls.low / calls.value * 99, calls.high / calls.value * 99) == pytest.approx(
        (80.46, 120.53), abs=0.01
    )
    assert "100 calls over 59.4 minutes in calls.csv" in found.source


def test_the_poisson_interval_covers_the_true_rate() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        times = np.cumsum(rng.exponential(2.0, 60))
        calls = traffic.counted(times, "x").calls_per_month
        hits += (calls.low or 0) <= MONTH_S / 2 <= (calls.high or 0)
    assert hits >= 365


@pytest.mark.parametrize("times", [[], [1.0], [2.0, 2.0, 2.0]])
def test_calls_at_one_moment_are_no_rate(times: list[float]) -> None:
    with pytest.raises(PlanError, match="two at different times"):
        traffic.counted(times, "x")
